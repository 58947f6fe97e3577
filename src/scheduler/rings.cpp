// From flags to notifications. See rings.hpp.
#include "scheduler/rings.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "queue/notices.hpp"
#include "scheduler/attempt.hpp"
#include "scheduler/limits.hpp"
#include "shared/doorbell.hpp"

namespace ecto_job {

namespace {

// Being announced: if that ends us, the next scheduler has to
Oid taken[64];
int taken_count = 0;

// A try that waits for NOTIFY's lock keeps everybody's jobs waiting for as long. One that is slow
// for another reason, on a busy machine, gets more time the next time.
constexpr int first_limit_ms = 100;
constexpr int longest_limit_ms = 1600;
constexpr int64 retry_us = 1'000'000;

bool told_of_failure = false;
bool sent = false; // since the last pause
bool waits = false;
int limit_ms = first_limit_ms;
instr_time last_failure; // waits

// As it is committed now. Not from the caches: who rang may have renamed the table, and sends its
// invalidations after it has rung.
const char *present_name(Oid table) {
    Relation catalog = table_open(RelationRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, ClassOidIndexId, true, nullptr, 1, &key);
    HeapTuple const row = systable_getnext(scan);
    const char *const name =
        HeapTupleIsValid(row)
            ? pstrdup(NameStr(reinterpret_cast<Form_pg_class>(GETSTRUCT(row))->relname))
            : nullptr;
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return name;
}

void notify(const Oid *queues, int count) {
    // Nothing is written, so nothing need be flushed; and what is announced has been
    set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                      true, 0, false);
    for (int i = 0; i < count; i++)
        if (const char *const table = present_name(queues[i]))
            send_notice_now(queues[i], table, Notice::available, "");
    Oid named = InvalidOid;
    const char *table = nullptr;
    for (const KeptNotice *kept = kept_notices(); kept != nullptr; kept = kept->next) {
        if (kept->queue != named)
            table = present_name(kept->queue);
        named = kept->queue;
        if (table != nullptr)
            send_notice_now(kept->queue, table, kept->notice, kept->payload);
    }
}

// The process that has NOTIFY's lock; 0: nobody has
int holder_of_notify() {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0); // as async.c takes it
    int count = 0;
    const VirtualTransactionId *const holders = GetLockConflicts(&tag, AccessExclusiveLock, &count);
    return count > 0 ? pid_of(holders[0]) : 0;
}

int64 us_since_failure() {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_SUBTRACT(now, last_failure);
    return static_cast<int64>(INSTR_TIME_GET_MICROSEC(now));
}

void put_taken_back() {
    ring_again(taken, taken_count);
    taken_count = 0;
}

void at_exit(int, Datum) {
    put_taken_back();
}

void note_failure(int slot, const ErrorData *error) {
    const int holder = was_over_limit() ? holder_of_notify() : 0;
    const char *const why =
        holder != 0        ? psprintf("NOTIFY waits for a lock, which process %d holds", holder)
        : was_over_limit() ? psprintf("NOTIFY took longer than %d ms", limit_ms)
                           : error->message;
    if (was_over_limit() && holder == 0)
        limit_ms = std::min(2 * limit_ms, longest_limit_ms);
    INSTR_TIME_SET_CURRENT(last_failure);
    waits = true;
    show_unannounced(slot, why);
    if (!told_of_failure)
        ereport(WARNING, (errcode(error->sqlerrcode), errmsg("notifying consumers failed: %s", why),
                          errhint("It is tried again every second; meanwhile consumers find "
                                  "jobs by polling.")));
    told_of_failure = true;
}

void note_success(int slot) {
    if (waits)
        show_unannounced(slot, nullptr);
    waits = told_of_failure = false;
    limit_ms = first_limit_ms;
}

// Null, or why it failed
const ErrorData *announce() {
    limit_time(limit_ms);
    const ErrorData *const error = attempt([] { notify(taken, taken_count); });
    if (error != nullptr) {
        put_taken_back();
        return error;
    }
    sent = true;
    taken_count = 0;
    forget_kept_notices();
    return nullptr;
}

} // namespace

void prepare_rings() {
    before_shmem_exit(at_exit, 0);
    keep_notices();
}

bool send_rings(int slot) {
    constexpr int at_once = lengthof(taken);
    if (waits && us_since_failure() < retry_us)
        return false;
    int count = at_once;
    while (count == at_once) {
        count = taken_count = take_rings(taken, at_once);
        if (count == 0 && kept_notices() == nullptr)
            continue;
        if (const ErrorData *const error = announce()) {
            note_failure(slot, error);
            return false;
        }
    }
    note_success(slot);
    return true;
}

bool announcements_wait() {
    return waits;
}

TimestampTz next_announcement(TimestampTz now) {
    return waits ? now + std::max<int64>(retry_us - us_since_failure(), 0) : DT_NOEND;
}

void gather_rings() {
    constexpr long shortest_us = 1000;
    constexpr long longest_us = 4000;
    static long pause_us = shortest_us;
    if (!sent)
        return;
    sent = false;
    pg_usleep(pause_us);
    pause_us = MyLatch->is_set ? std::min(2 * pause_us, longest_us) : shortest_us;
}

} // namespace ecto_job
