// From flags to notifications. See announce.hpp.
#include "scheduler/announce.hpp"

#include <algorithm>
#include <optional>

#include "core/backoff.hpp"
#include "pg/compat.hpp"
#include "queue/notifications.hpp"
#include "scheduler/stopwatch.hpp"
#include "scheduler/try_transaction.hpp"
#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

// The queues whose flags are cleared and whose announcing transaction has not committed
Oid announcing[64];
int announcing_count = 0;

// The time limit of a try, during which no queue is swept. Two cases: if one commit keeps NOTIFY's
// lock, waiting longer is of no use; if commits take it in turn, a try must wait for those before
// it, and so gets more time.
constexpr int first_limit_ms = 100;
constexpr int longest_limit_ms = 6400;
constexpr int64 retry_us = 1'000'000;

bool sent = false; // whether a notification was sent since the last pause
int limit_ms = first_limit_ms;
int64 pause_us = retry_us;              // from a failed try to the next
std::optional<Stopwatch> since_failure; // has a value while announcements wait for the next try
VirtualTransactionId last_holder; // of NOTIFY's lock, when the last try gave up; invalid: nobody
RecordNumber next_record = 0;     // where the next pass over the flags begins

// Returns the table's committed name; null: there is no such table. Reads the catalog and not the
// caches, which may be outdated: a session that has renamed the table reports before it sends its
// invalidations.
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
    // Nothing to wait for: the transaction writes nothing, and other commits have flushed the jobs
    set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                      true, 0, false);
    for (int i = 0; i < count; i++)
        if (const char *const table = present_name(queues[i]))
            send_notification_now(queues[i], table, Notification::available, "");
    Oid named = InvalidOid;
    const char *table = nullptr;
    for (const KeptNotification *kept = kept_notifications(); kept != nullptr; kept = kept->next) {
        if (kept->queue != named)
            table = present_name(kept->queue);
        named = kept->queue;
        if (table != nullptr)
            send_notification_now(kept->queue, table, kept->notification, kept->payload);
    }
}

// Returns the transaction that holds NOTIFY's lock; invalid: none.
VirtualTransactionId holder_of_notify() {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0); // as async.c takes it
    int count = 0;
    const VirtualTransactionId *const holders = GetLockConflicts(&tag, AccessExclusiveLock, &count);
    return holders[0]; // an invalid one ends the list
}

void restore_flags() {
    put_back_announcements(announcing, announcing_count);
    announcing_count = 0;
}

void at_exit(int, Datum) {
    restore_flags();
}

// Sets the pause and the limit of the next try after a try that was over its limit. `holder` holds
// NOTIFY's lock now. If the same commit held the lock at the last try, too, the pause is a second
// and the limit short. Otherwise the limit doubles, and the pause is half of the limit, at most a
// second.
void set_next_try(const VirtualTransactionId &holder) {
    const bool is_kept =
        VirtualTransactionIdIsValid(holder) && VirtualTransactionIdEquals(holder, last_holder);
    last_holder = holder;
    limit_ms = is_kept ? first_limit_ms : std::min(2 * limit_ms, longest_limit_ms);
    pause_us = is_kept ? retry_us : std::min<int64>(limit_ms * INT64CONST(500), retry_us);
}

void record_failed_announcement(int slot, const ErrorData *error) {
    const char *why = error->message;
    pause_us = retry_us;
    if (was_over_limit()) {
        const VirtualTransactionId holder = holder_of_notify();
        why = VirtualTransactionIdIsValid(holder)
                  ? psprintf("NOTIFY waits for a lock, which process %d holds", pid_of(holder))
                  : psprintf("NOTIFY took longer than %d ms", limit_ms);
        set_next_try(holder);
    }
    show_unannounced(slot, why);
    if (!announcements_wait())
        ereport(WARNING, (errcode(error->sqlerrcode), errmsg("notifying consumers failed: %s", why),
                          errhint("It is tried again within a second; meanwhile consumers find "
                                  "jobs by polling.")));
    since_failure.emplace();
}

// Lowers the limit slowly: as long as commits take the lock in turn, the next announcement takes as
// long, and would exceed a much lower limit again.
void record_success(int slot) {
    if (announcements_wait())
        show_unannounced(slot, nullptr);
    since_failure.reset();
    SetInvalidVirtualTransactionId(last_holder);
    limit_ms = std::max(limit_ms - limit_ms / 8, first_limit_ms);
}

// Sends the notifications of the queues in `announcing`, and the kept notifications. Returns null,
// or the error.
const ErrorData *announce() {
    limit_time(limit_ms);
    const ErrorData *const error = try_transaction([] { notify(announcing, announcing_count); });
    if (error != nullptr) {
        restore_flags();
        return error;
    }
    sent = true;
    announcing_count = 0;
    forget_kept_notifications();
    return nullptr;
}

} // namespace

void prepare_announcing() {
    before_shmem_exit(at_exit, 0);
    keep_notifications();
}

// Makes one pass over the flags, however many are set meanwhile, so that sweeps go on. After a
// failure the next pass begins where this one has failed, so that every queue has its turn.
bool announce_pending(int slot) {
    if (since_failure && since_failure->us() < pause_us)
        return false;
    do {
        const RecordNumber began = next_record;
        announcing_count = take_announcements(announcing, lengthof(announcing), &next_record);
        if (announcing_count == 0 && kept_notifications() == nullptr)
            continue;
        if (const ErrorData *const error = announce()) {
            next_record = began;
            record_failed_announcement(slot, error);
            return false;
        }
    } while (next_record != 0);
    record_success(slot);
    return true;
}

bool announcements_wait() {
    return since_failure.has_value();
}

TimestampTz next_announcement(TimestampTz now) {
    return since_failure ? now + std::max<int64>(pause_us - since_failure->us(), 0) : DT_NOEND;
}

void pause_after_announcing() {
    static Backoff pauses_us{1000, 4000};
    if (!sent)
        return;
    sent = false;
    pg_usleep(static_cast<long>(pauses_us.next()));
    if (!MyLatch->is_set)
        pauses_us.reset();
}

} // namespace ecto_job
