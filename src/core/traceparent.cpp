// The form of a traceparent. See traceparent.hpp.
#include "core/traceparent.hpp"

#include <algorithm>

namespace ecto_job {

namespace {

bool is_digit(char character) {
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'f');
}

bool is_zero(std::string_view digits) {
    return digits.find_first_not_of('0') == std::string_view::npos;
}

} // namespace

bool is_traceparent(std::string_view text) {
    constexpr std::string_view form = "00-00000000000000000000000000000000-0000000000000000-00";
    constexpr std::size_t trace_id = 3;
    constexpr std::size_t trace_id_size = 32;
    constexpr std::size_t parent_id = 36;
    constexpr std::size_t parent_id_size = 16;
    if (text.size() != form.size())
        return false;
    const bool has_form =
        std::equal(text.begin(), text.end(), form.begin(), [](char character, char expected) {
            return expected == '-' ? character == '-' : is_digit(character);
        });
    return has_form && !text.starts_with("ff") && !is_zero(text.substr(trace_id, trace_id_size)) &&
           !is_zero(text.substr(parent_id, parent_id_size));
}

} // namespace ecto_job
