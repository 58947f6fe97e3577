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

// The arguments of a statement, which takes the fields that its text names. Nullopt, or a null
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
    // The highest `attempt` of a job whose next attempt still ends at a representable time
    std::optional<std::int32_t> attempt_limit = {};
    const void *error = nullptr;
    std::optional<bool> retry = {}; // whether a failed attempt may be followed by another one
    std::optional<Micros> due = {}; // when a job comes back, instead of as its queue says
    // Of a queue with options for the retry back-off: see core/retry_delay.hpp
    const void *backoff = nullptr;
    std::optional<std::int64_t> longest_delay = {}; // in ms
    std::optional<double> jitter = {};
    std::optional<std::int64_t> seed = {};
    std::optional<Micros> failed_before = {};
    // true: only jobs without an attempt left; false: only others; nullopt: both
    std::optional<bool> exhausted = {};
    std::optional<bool> keyed = false; // false: lets no job with a key wait again; true: one
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
    const void *key = nullptr;
    // What a job that is replaced gets; nullopt: as it was
    std::optional<std::int32_t> new_max_attempts = {};
    std::optional<std::int32_t> new_priority = {};
    const void *new_meta = nullptr;
};

enum class SqlType {
    int4,
    int8,
    int8_array,
    boolean,
    float8,
    text,
    varchar,
    jsonb,
    timestamptz,
    params // jsonb, or bytea in a binary queue
};

// A column of a key
template <typename T> struct KeyPart {
    std::optional<JobKey> Arguments::*key;
    T JobKey::*column;
};

struct Parameter {
    std::string_view name;
    std::variant<std::optional<std::int32_t> Arguments::*, std::optional<std::int64_t> Arguments::*,
                 std::optional<double> Arguments::*, std::optional<bool> Arguments::*,
                 const void * Arguments::*, KeyPart<std::int32_t>, KeyPart<std::int64_t>>
        field;
    SqlType type;
    bool may_be_null = false;
};

inline constexpr bool may_be_null = true;
inline constexpr Parameter parameters[] = {
    {"now", &Arguments::now, SqlType::timestamptz},
    {"id", &Arguments::id, SqlType::int8},
    {"ids", &Arguments::ids, SqlType::int8_array},
    {"attempt", &Arguments::attempt, SqlType::int4, may_be_null},
    {"lease", &Arguments::lease, SqlType::int8, may_be_null},
    {"leases", &Arguments::leases, SqlType::int8_array},
    {"expires", &Arguments::expires, SqlType::timestamptz},
    {"timeout", &Arguments::timeout, SqlType::int8},
    {"attempt_limit", &Arguments::attempt_limit, SqlType::int4},
    {"error", &Arguments::error, SqlType::text, may_be_null},
    {"retry", &Arguments::retry, SqlType::boolean},
    {"due", &Arguments::due, SqlType::timestamptz, may_be_null},
    {"backoff", &Arguments::backoff, SqlType::text, may_be_null},
    {"longest_delay", &Arguments::longest_delay, SqlType::int8, may_be_null},
    {"jitter", &Arguments::jitter, SqlType::float8, may_be_null},
    {"seed", &Arguments::seed, SqlType::int8, may_be_null},
    {"failed_before", &Arguments::failed_before, SqlType::timestamptz},
    {"exhausted", &Arguments::exhausted, SqlType::boolean, may_be_null},
    {"keyed", &Arguments::keyed, SqlType::boolean},
    {"sessions", &Arguments::sessions, SqlType::int8_array},
    {"from_priority", KeyPart<std::int32_t>{&Arguments::from, &JobKey::priority}, SqlType::int4},
    {"from_schedule", KeyPart<std::int64_t>{&Arguments::from, &JobKey::schedule},
     SqlType::timestamptz},
    {"from_id", KeyPart<std::int64_t>{&Arguments::from, &JobKey::id}, SqlType::int8},
    {"to_priority", KeyPart<std::int32_t>{&Arguments::to, &JobKey::priority}, SqlType::int4},
    {"to_schedule", KeyPart<std::int64_t>{&Arguments::to, &JobKey::schedule}, SqlType::timestamptz},
    {"to_id", KeyPart<std::int64_t>{&Arguments::to, &JobKey::id}, SqlType::int8},
    {"limit", &Arguments::limit, SqlType::int8, may_be_null},
    {"params", &Arguments::params, SqlType::params},
    {"schedule", &Arguments::schedule, SqlType::timestamptz},
    {"max_attempts", &Arguments::max_attempts, SqlType::int4},
    {"priority", &Arguments::priority, SqlType::int4},
    {"notify", &Arguments::notify, SqlType::varchar, may_be_null},
    {"meta", &Arguments::meta, SqlType::jsonb, may_be_null},
    {"key", &Arguments::key, SqlType::text},
    {"new_max_attempts", &Arguments::new_max_attempts, SqlType::int4, may_be_null},
    {"new_priority", &Arguments::new_priority, SqlType::int4, may_be_null},
    {"new_meta", &Arguments::new_meta, SqlType::jsonb, may_be_null},
};
inline constexpr std::size_t parameter_count = std::size(parameters);

} // namespace ecto_job
