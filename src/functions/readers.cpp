// Rights of those who ask how a queue goes. See readers.hpp.
#include "functions/readers.hpp"

#include <algorithm>

#include "functions/arguments.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "table/distribution.hpp"

namespace ecto_job {

namespace {

void require_reader(const Queue *queue) {
    if (is_monitor() || may_see_jobs(queue->oid))
        return;
    if (!may_read(queue->oid))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("permission denied for table %s", NameStr(queue->table)),
                        errhint("Have SELECT on the queue's table, or the rights of pg_monitor.")));
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("policies may hide jobs of queue \"%s\" from role \"%s\"",
                           NameStr(queue->table), GetUserNameFromId(GetUserId(), false)),
                    errhint("This function does not apply them. SELECT from the table, or have the "
                            "rights of pg_monitor.")));
}

} // namespace

bool may_read(Oid table) {
    bool is_missing = false;
    return pg_class_aclcheck_ext(table, GetUserId(), ACL_SELECT, &is_missing) == ACLCHECK_OK;
}

bool may_see_jobs(Oid table) {
    return may_read(table) && check_enable_rls(table, InvalidOid, true) != RLS_ENABLED;
}

bool is_monitor() {
    return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

WatchedQueue open_watched_queue(FunctionCallInfo fcinfo) {
    const Oid oid = table_argument(fcinfo);
    SPI_connect();
    require_reader(find_queue(oid)); // before the lock, so that no role locks what it may not read
    Relation const table = try_relation_open(oid, AccessShareLock);
    const Queue *const queue = find_queue(oid); // as it is under the lock; an ERROR if it is gone
    if (table == nullptr || is_distributed_table(oid))
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("the jobs of queue \"%s\" are not in this table", NameStr(queue->table)),
                 errdetail("Citus distributes the table."),
                 errhint("Create a queue in a schema that is not distributed.")));
    if (RecoveryInProgress() && !RelationIsPermanent(table))
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("the jobs of queue \"%s\" are not on this standby", NameStr(queue->table)),
                 errdetail("The table is unlogged."), errhint("Ask the primary.")));
    SPI_finish();
    return {queue, table};
}

int64 at_most_argument(FunctionCallInfo fcinfo, int at, const Queue *queue) {
    if (PG_ARGISNULL(at))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg("at_most must not be null (queue \"%s\")", NameStr(queue->table)),
                        errhint("Leave it out to have its default.")));
    const int64 at_most = PG_GETARG_INT64(at);
    if (at_most < 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("at_most must be at least 1 for queue \"%s\": " INT64_FORMAT,
                               NameStr(queue->table), at_most),
                        errhint("Give the number of jobs at which the function may stop.")));
    return at_most;
}

int64 entries_for(int64 at_most, int64 each) {
    return std::min(at_most, PG_INT64_MAX / each) * each;
}

Datum text_datum(State state) {
    const std::string_view word = name(state);
    return PointerGetDatum(cstring_to_text_with_len(word.data(), static_cast<int>(word.size())));
}

} // namespace ecto_job
