// The parameters of a queue's statements: each has one name in SQL, one type and one field,
// whatever statement takes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "core/key.hpp"

namespace ecto_job {

// What a statement is run with; it takes the fields whose names its text has. Null, or a null
// pointer, is SQL's NULL.
struct Arguments {
    std::optional<Micros> now = {};
    std::optional<std::int64_t> id = {};
    const void *ids = nullptr;
    std::optional<std::int32_t> attempt = {};
    std::optional<std::int64_t> lease = {};
    const void *leases = nullptr;
    std::optional<Micros> expires = {};
    std::optional<std::int64_t> timeout = {}; // in ms
    // The highest number of a job's attempt with room in the calendar for the end of the next one
    std::optional<std::int32_t> attempt_limit = {};
    const void *error = nullptr;
    std::optional<bool> exhausted = {};
    const void *sessions = nullptr;
    std::optional<JobKey> from = {};
    std::optional<JobKey> to = {};
    std::optional<std::int64_t> limit = {}; // LIMIT NULL has no end
    // Of a new job
    const void *params = nullptr;
    std::optional<Micros> schedule = {};
    std::optional<std::int32_t> max_attempts = {};
    std::optional<std::int32_t> priority = {};
    const void *notify = nullptr;
    const void *meta = nullptr;
};

enum class SqlType {
    int4,
    int8,
    int8_array,
    boolean,
    text,
    varchar,
    jsonb,
    timestamptz,
    params, // jsonb, or bytea in a binary queue
    key     // three parameters of PostgreSQL's: priority, schedule, id
};

struct Parameter {
    std::string_view name;
    SqlType type;
    std::variant<std::optional<std::int32_t> Arguments::*, std::optional<std::int64_t> Arguments::*,
                 std::optional<bool> Arguments::*, const void * Arguments::*,
                 std::optional<JobKey> Arguments::*>
        field;
    bool may_be_null = false;
};

inline constexpr bool may_be_null = true;
inline constexpr Parameter parameters[] = {
    {"now", SqlType::timestamptz, &Arguments::now},
    {"id", SqlType::int8, &Arguments::id},
    {"ids", SqlType::int8_array, &Arguments::ids},
    {"attempt", SqlType::int4, &Arguments::attempt, may_be_null},
    {"lease", SqlType::int8, &Arguments::lease, may_be_null},
    {"leases", SqlType::int8_array, &Arguments::leases},
    {"expires", SqlType::timestamptz, &Arguments::expires},
    {"timeout", SqlType::int8, &Arguments::timeout},
    {"attempt_limit", SqlType::int4, &Arguments::attempt_limit},
    {"error", SqlType::text, &Arguments::error, may_be_null},
    {"exhausted", SqlType::boolean, &Arguments::exhausted, may_be_null},
    {"sessions", SqlType::int8_array, &Arguments::sessions},
    {"from", SqlType::key, &Arguments::from},
    {"to", SqlType::key, &Arguments::to},
    {"limit", SqlType::int8, &Arguments::limit, may_be_null},
    {"params", SqlType::params, &Arguments::params},
    {"schedule", SqlType::timestamptz, &Arguments::schedule},
    {"max_attempts", SqlType::int4, &Arguments::max_attempts},
    {"priority", SqlType::int4, &Arguments::priority},
    {"notify", SqlType::varchar, &Arguments::notify, may_be_null},
    {"meta", SqlType::jsonb, &Arguments::meta, may_be_null},
};
inline constexpr std::size_t parameter_count = std::size(parameters);

// How many of PostgreSQL's parameters `parameter` is
constexpr int width_of(const Parameter &parameter) {
    return parameter.type == SqlType::key ? 3 : 1;
}
inline constexpr std::size_t most_values = 3 * parameter_count;

} // namespace ecto_job
