// Reading arguments. See arguments.hpp.
#include "functions/arguments.hpp"

#include "core/channel.hpp"
#include "core/times.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "pg/text.hpp"
#include "queue/queue_settings.hpp"
#include "server_settings.hpp"

namespace ecto_job {

namespace {

void require_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                      const char *hint = "Pass the value that the job came with.") {
    if (PG_ARGISNULL(at))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("%s must not be null (queue \"%s\")", name, NameStr(queue->table)),
                        errhint("%s", hint)));
}

// Returns an object with this key alone.
Jsonb *object_of(const char *key, char *text) {
    JsonbParseState *state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    JsonbValue value;
    value.type = jbvString;
    value.val.string.val = const_cast<char *>(key);
    value.val.string.len = static_cast<int>(strlen(key));
    pushJsonbValue(&state, WJB_KEY, &value);
    value.val.string.val = text;
    value.val.string.len = static_cast<int>(strlen(text));
    pushJsonbValue(&state, WJB_VALUE, &value);
    return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr));
}

constexpr const char *leave_it_out = "Leave it out to have its default.";

void require_some_right(Oid table) {
    constexpr AclMode any = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE;
    if (pg_class_aclmask(table, GetUserId(), any, ACLMASK_ANY) == 0 &&
        pg_attribute_aclcheck_all(table, GetUserId(), any, ACLMASK_ANY) != ACLCHECK_OK)
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, shown_table_name(table));
}

} // namespace

void require_table_name(const char *name, const char *what) {
    switch (check_table_name(name)) {
    case NameFault::none:
        return;
    case NameFault::empty:
        ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("table_name must not be empty"),
                        errhint("Give the queue a name, such as 'jobs'.")));
    case NameFault::too_long:
        ereport(ERROR,
                (errcode(ERRCODE_NAME_TOO_LONG),
                 errmsg("name of %s \"%s\" is too long: %zu bytes", what, name, strlen(name)),
                 errdetail("The channel \"<name>.completed\" must fit into 63 bytes."),
                 errhint("Give a name of %zu bytes at most.", max_table_name_bytes)));
    case NameFault::control_character:
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_NAME), errmsg("name of %s has a control character", what),
                 errhint("Use letters, digits and underscores.")));
    }
}

Oid table_argument(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(queue_at))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("queue must not be null"),
                        errhint("Give the queue's table, such as 'jobs' or 'app.jobs'.")));
    return PG_GETARG_OID(queue_at);
}

Queue *queue_argument(FunctionCallInfo fcinfo) {
    const Oid table = table_argument(fcinfo);
    // Checked before the lock, so that no role locks a table that is no queue, or that it has no
    // right on
    find_queue(table);
    require_some_right(table);
    const char *const function = function_name_or_null(fcinfo->flinfo->fn_oid);
    PreventCommandIfReadOnly(function != nullptr ? function : "a function of ecto_job");
    LockRelationOid(table, RowExclusiveLock);
    // A lock that is held already accepts no invalidations, and the settings may have changed
    AcceptInvalidationMessages();
    return find_queue(table);
}

TimestampTz time_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                          TimestampTz absent) {
    if (PG_ARGISNULL(at))
        return absent;
    const TimestampTz time = PG_GETARG_TIMESTAMPTZ(at);
    if (!is_finite(time))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("%s must not be infinite for queue \"%s\": \"%s\"", name,
                        NameStr(queue->table), time == plus_infinity ? "infinity" : "-infinity"),
                 errhint("Give a finite time; a job that is to be held can be scheduled far in the "
                         "future.")));
    return time;
}

int64 demand_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    if (PG_ARGISNULL(at))
        return 0;
    const int32 demand = PG_GETARG_INT32(at);
    if (demand < 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("demand must not be negative for queue \"%s\": %d",
                               NameStr(queue->table), demand),
                        errhint("Ask for the number of jobs that you can start now.")));
    return demand;
}

int64 bigint_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name) {
    require_argument(fcinfo, at, queue, name);
    return PG_GETARG_INT64(at);
}

int32 integer_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name) {
    require_argument(fcinfo, at, queue, name);
    return PG_GETARG_INT32(at);
}

bool boolean_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name) {
    require_argument(fcinfo, at, queue, name, leave_it_out);
    return PG_GETARG_BOOL(at);
}

std::optional<int64> interval_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                                       const char *name, int64 minimum) {
    if (PG_ARGISNULL(at))
        return std::nullopt;
    return interval_in_ms(PG_GETARG_INTERVAL_P(at), NameStr(queue->table), name, minimum);
}

int64 required_interval_argument(FunctionCallInfo fcinfo, int at, const Queue *queue,
                                 const char *name, int64 minimum) {
    require_argument(fcinfo, at, queue, name, leave_it_out);
    return *interval_argument(fcinfo, at, queue, name, minimum);
}

int32 max_attempts_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *hint) {
    const int32 max_attempts = PG_GETARG_INT32(at);
    if (max_attempts < 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("max_attempts must be 1 or more for queue \"%s\": %d",
                               NameStr(queue->table), max_attempts),
                        errhint("%s", hint)));
    return max_attempts;
}

std::optional<int64> lease_argument(FunctionCallInfo fcinfo, int at) {
    if (PG_ARGISNULL(at))
        return std::nullopt;
    return PG_GETARG_INT64(at);
}

int64 timeout_ms_argument(FunctionCallInfo fcinfo, int at, const Queue *queue, const char *name,
                          int64 setting, int64 minimum) {
    if (PG_ARGISNULL(at))
        return setting;
    const int64 timeout = PG_GETARG_INT64(at);
    if (timeout < minimum)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("%s must be " INT64_FORMAT " ms or more for queue \"%s\": " INT64_FORMAT,
                        name, minimum, NameStr(queue->table), timeout),
                 errhint("Leave it out to use the queue's setting.")));
    return timeout;
}

const Jsonb *meta_argument(FunctionCallInfo fcinfo, int at) {
    Jsonb *const meta = PG_ARGISNULL(at) ? nullptr : PG_GETARG_JSONB_P(at);
    if (settings::traceparent[0] == '\0' || (meta != nullptr && !JB_ROOT_IS_OBJECT(meta)))
        return meta;
    Jsonb *const trace = object_of("traceparent", settings::traceparent);
    if (meta == nullptr)
        return trace;
    // A key of both is that of the second object
    return DatumGetJsonbP(
        DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(trace), JsonbPGetDatum(meta)));
}

const text *error_argument(FunctionCallInfo fcinfo, int at) {
    if (PG_ARGISNULL(at))
        return nullptr;
    const text *const error = PG_GETARG_TEXT_PP(at);
    return clipped_text(VARDATA_ANY(error), static_cast<int>(VARSIZE_ANY_EXHDR(error)),
                        error_bytes);
}

} // namespace ecto_job
