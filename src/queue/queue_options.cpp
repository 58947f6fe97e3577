// Reading and checking of options. See queue_options.hpp.
#include "queue/queue_options.hpp"

#include <algorithm>

#include "core/times.hpp"
#include "pg/compat.hpp"
#include "pg/jsonb.hpp"
#include "queue/queue_settings.hpp"

namespace ecto_job {

namespace {

// Returns the interval in ms; nullopt if the text is none, or the interval is not one that a
// setting may have.
std::optional<int64> interval_from(const char *text) {
    MemoryContext const before = CurrentMemoryContext;
    const Interval *interval = nullptr;
    PG_TRY();
    {
        interval = DatumGetIntervalP(DirectFunctionCall3(
            interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(before);
        if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
            PG_RE_THROW();
        FlushErrorState(); // the function holds nothing that a subtransaction would release
        interval = nullptr;
    }
    PG_END_TRY();
    if (interval == nullptr)
        return std::nullopt;
    const IntervalMs result = interval_to_ms({interval->time, interval->day, interval->month});
    const bool fits =
        result.fault == IntervalFault::none && result.ms >= 1 && result.ms <= longest_setting_ms;
    return fits ? std::optional(result.ms) : std::nullopt;
}

std::optional<int64> interval_of(const JsonbValue &value) {
    // What follows a minus depends on the session's IntervalStyle, and each session reads the text,
    // so a minus is refused
    constexpr std::size_t longest_text = 100;
    const char *const text = text_of(value);
    const bool is_plain =
        text != nullptr && strlen(text) <= longest_text && strchr(text, '-') == nullptr;
    return is_plain ? interval_from(text) : std::nullopt;
}

bool read_backoff(const JsonbValue &value, QueueOptions *options) {
    const char *const text = text_of(value);
    const std::optional<RetryBackoff> backoff =
        text != nullptr ? retry_backoff_from(text) : std::nullopt;
    options->retry.backoff = backoff.value_or(options->retry.backoff);
    return backoff.has_value();
}

bool read_max_retry_delay(const JsonbValue &value, QueueOptions *options) {
    const std::optional<int64> delay_ms = interval_of(value);
    options->retry.longest_ms = delay_ms.value_or(options->retry.longest_ms);
    return delay_ms.has_value();
}

bool read_retry_jitter(const JsonbValue &value, QueueOptions *options) {
    if (value.type != jbvNumeric)
        return false;
    const double jitter = DatumGetFloat8(
        DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
    const bool is_share = jitter >= 0 && jitter <= 1;
    if (is_share)
        options->retry.jitter = jitter;
    return is_share;
}

bool read_failed_retention(const JsonbValue &value, QueueOptions *options) {
    const std::optional<int64> retention_ms = interval_of(value);
    if (retention_ms)
        options->failed_retention_ms = retention_ms;
    return retention_ms.has_value();
}

constexpr const char *interval_values =
    "an interval as a string, such as \"6 hours\", of 1 millisecond to 3650 days, without months";

struct Option {
    const char *name;
    bool (*read)(const JsonbValue &value, QueueOptions *options); // false: not such a value
    const char *values;
};
constexpr Option known_options[] = {
    {"backoff", read_backoff, "\"linear\", \"constant\" or \"exponential\""},
    {"max_retry_delay", read_max_retry_delay, interval_values},
    {"retry_jitter", read_retry_jitter, "a number from 0 to 1"},
    {"failed_retention", read_failed_retention, interval_values},
};

const char *known_names() {
    StringInfoData names;
    initStringInfo(&names);
    for (const Option &option : known_options)
        appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", option.name);
    return names.data;
}

const Option *option_named(const JsonbValue &key) {
    for (const Option &option : known_options)
        if (std::string_view(key.val.string.val, static_cast<Size>(key.val.string.len)) ==
            option.name)
            return &option;
    return nullptr;
}

const char *shown(JsonbValue value) {
    Jsonb *const json = JsonbValueToJsonb(&value);
    return JsonbToCString(nullptr, &json->root, static_cast<int>(VARSIZE(json)));
}

void check_option(const JsonbValue &key, const JsonbValue &value, const char *queue) {
    const Option *const option = option_named(key);
    if (option == nullptr)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("queue \"%s\" has no option \"%s\"", queue, text_of(key)),
                        errhint("The options are %s.", known_names())));
    QueueOptions ignored;
    if (value.type != jbvNull && !option->read(value, &ignored))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("option %s of queue \"%s\" must not be %s", option->name, queue,
                               shown(value)),
                        errhint("Give %s; or null, which resets the option.", option->values)));
}

} // namespace

QueueOptions read_options(const Jsonb *options) {
    QueueOptions result;
    if (options == nullptr || !JB_ROOT_IS_OBJECT(options))
        return result;
    for_each_pair(options, [&](const JsonbValue &key, const JsonbValue &value) {
        if (const Option *const option = option_named(key))
            option->read(value, &result);
    });
    return result;
}

void check_options(const Jsonb *options, const char *queue) {
    if (!JB_ROOT_IS_OBJECT(options))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("options must be a JSON object for queue \"%s\"", queue),
                 errdetail("It is %s.", JB_ROOT_IS_SCALAR(options) ? "a scalar" : "an array"),
                 errhint("The options are %s.", known_names())));
    for_each_pair(options, [&](const JsonbValue &key, const JsonbValue &value) {
        check_option(key, value, queue);
    });
}

void add_retry_delay(const RetryDelay &delay, Arguments *arguments) {
    if (delay == RetryDelay{})
        return;
    arguments->backoff =
        cstring_to_text(retry_backoff_names[static_cast<std::size_t>(delay.backoff)].data());
    arguments->longest_delay = std::min(delay.longest_ms, longest_timeout_ms(*arguments->now));
    arguments->jitter = delay.jitter;
    arguments->seed = static_cast<int64>(pg_prng_uint64(&pg_global_prng_state));
}

} // namespace ecto_job
