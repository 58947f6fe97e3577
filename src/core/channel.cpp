// Builds a queue's channel names in place, without an allocation: a trigger calls this for every
// notification, where no destructor may stand in the way of a PostgreSQL error. No lock.
#include "core/channel.hpp"

#include <algorithm>
#include <array>

namespace ecto_job {

namespace {

constexpr std::array<std::string_view, 4> suffixes{"", ".completed", ".retry", ".failed"};

// Whatever the notification, an accepted name fits with its NUL.
static_assert(std::all_of(suffixes.begin(), suffixes.end(), [](std::string_view suffix) {
    return max_table_name_bytes + suffix.size() < sizeof(Channel::name);
}));

constexpr bool is_control(char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte < 0x20 || byte == 0x7f;
}

} // namespace

std::optional<Channel> channel(std::string_view table, Notification notification) {
    if (table.empty() || table.size() > max_table_name_bytes ||
        table.find('\0') != std::string_view::npos)
        return std::nullopt;
    const std::string_view suffix = suffixes[static_cast<std::size_t>(notification)];
    Channel result{};
    std::copy(suffix.begin(), suffix.end(),
              std::copy(table.begin(), table.end(), std::begin(result.name)));
    return result;
}

NameFault check_table_name(std::string_view table) {
    if (table.empty())
        return NameFault::empty;
    if (table.size() > max_table_name_bytes)
        return NameFault::too_long;
    if (std::any_of(table.begin(), table.end(), is_control))
        return NameFault::control_character;
    return NameFault::none;
}

} // namespace ecto_job
