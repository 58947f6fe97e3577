// Escaping and UTF-8 repair are done by the JSON library: a JSON string that is written with
// replacement of invalid bytes and parsed again is the same text in valid UTF-8.
#include "consumer/text.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ecto_job::consumer {

using nlohmann::json;

namespace {

// std::isspace depends on the locale
constexpr std::string_view blanks = " \t\r\n\v\f";

// Returns whether the byte is in the middle of a UTF-8 character.
bool is_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

} // namespace

std::string one_line(std::string_view text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string valid_utf8(std::string_view text) {
    std::string result = json::parse(one_line(text)).get<std::string>();
    std::erase(result, '\0');
    return result;
}

std::string clipped(std::string text, std::size_t limit) {
    if (text.size() <= limit)
        return text;
    while (limit > 0 && is_continuation(text[limit]))
        limit--;
    text.resize(limit);
    return text;
}

std::string ascii(std::string_view text) {
    std::string result;
    for (const char byte : text)
        if (!is_continuation(byte))
            result += static_cast<unsigned char>(byte) < 0x80U ? byte : '?';
    return result;
}

void Tail::append(std::string_view bytes) {
    if (bytes.size() >= limit_) {
        cut_ = cut_ || !kept_.empty() || bytes.size() > limit_;
        kept_ = bytes.substr(bytes.size() - limit_);
        return;
    }
    kept_ += bytes;
    if (kept_.size() > limit_) {
        kept_.erase(0, kept_.size() - limit_);
        cut_ = true;
    }
}

std::string Tail::text() const {
    std::string_view rest = kept_;
    if (cut_)
        while (!rest.empty() && is_continuation(rest.front()))
            rest.remove_prefix(1);
    const auto begin = rest.find_first_not_of(blanks);
    if (begin == std::string_view::npos)
        return {};
    rest = rest.substr(begin, rest.find_last_not_of(blanks) - begin + 1);
    return (cut_ ? "..." : "") + valid_utf8(rest);
}

} // namespace ecto_job::consumer
