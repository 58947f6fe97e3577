// Reading of a job's meta. See trace.hpp.
#include "consumer/trace.hpp"

#include <nlohmann/json.hpp>

#include "core/traceparent.hpp"

namespace ecto_job::consumer {

std::optional<std::string> traceparent_of(const std::string &meta) {
    if (meta.find("\"traceparent\"") == std::string::npos) // a long meta is not parsed in vain
        return std::nullopt;
    constexpr bool throws = false;
    const nlohmann::json parsed = nlohmann::json::parse(meta, nullptr, throws);
    if (!parsed.is_object())
        return std::nullopt;
    const auto found = parsed.find("traceparent");
    if (found == parsed.end() || !found->is_string())
        return std::nullopt;
    auto text = found->get<std::string>();
    return is_traceparent(text) ? std::optional(std::move(text)) : std::nullopt;
}

} // namespace ecto_job::consumer
