// The LISTEN channels of a queue, and which table names they allow.
//
// A channel is the table's present name, without its schema as in EctoJob, and a suffix for what
// happened. PostgreSQL's channels end at 63 bytes, and LISTEN silently cuts a longer name: so a
// queue's name has room for the longest suffix. check_table_name() is for creation; channel() is
// for every notification, since a RENAME may bring a name that creation would refuse. No lock.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace ecto_job {

inline constexpr std::size_t max_table_name_bytes = 53;

enum class Notification { available, completed, retry, failed };

struct Channel {
    char name[64]; // NUL-terminated
};

// Returns "<table>", "<table>.completed", "<table>.retry", "<table>.failed"; nullopt when the
// table's name is empty, longer than max_table_name_bytes, or contains NUL.
std::optional<Channel> channel(std::string_view table, Notification notification);

enum class NameFault { none, empty, too_long, control_character };

// Returns why the name is refused. Control characters (bytes below 0x20, and 0x7f) are refused: a
// newline in a name has injected SQL into pg_dump's output before (CVE-2025-8715).
NameFault check_table_name(std::string_view table);

} // namespace ecto_job
