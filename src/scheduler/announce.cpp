// From flags to notifications. See announce.hpp.
#include "scheduler/announce.hpp"

#include <algorithm>
#include <optional>

#include "core/backoff.hpp"
#include "pg/compat.hpp"
#include "queue/notifications.hpp"
#include "scheduler/stopwatch.hpp"
#include "scheduler/time_limits.hpp"
#include "scheduler/transaction.hpp"
#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

// Being announced: if that ends us, the next scheduler has to
Oid taken[64];
int taken_count = 0;

// A try that waits for NOTIFY's lock keeps everybody's jobs waiting for as long. Where one commit
// keeps the lock, more time is of no use. Where commits have it in turn, a try must last until its
// own turn; so it does on a busy machine.
constexpr int first_limit_ms = 100;
constexpr int longest_limit_ms = 6400;
constexpr int64 retry_us = 1'000'000;

bool logged_failure = false;
bool sent = false; // since the last pause
bool waits = false;
int limit_ms = first_limit_ms;
int64 pause_us = retry_us;              // before the next try, waits
std::optional<Stopwatch> since_failure; // has a value while it waits
VirtualTransactionId last_holder; // of NOTIFY's lock, when the last try gave up; invalid: nobody
RecordNumber next_record = 0;     // where the walk over the flags goes on

// Returns the name as it is committed now. Not from the caches: a session that reported may have
// renamed the table, and sends its invalidations after its report.
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

// Returns the transaction that has NOTIFY's lock; invalid: none has.
VirtualTransactionId holder_of_notify() {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, InvalidOid, 0); // as async.c takes it
    int count = 0;
    const VirtualTransactionId *const holders = GetLockConflicts(&tag, AccessExclusiveLock, &count);
    return holders[0]; // an invalid one ends the list
}

void put_taken_back() {
    put_back_announcements(taken, taken_count);
    taken_count = 0;
}

void at_exit(int, Datum) {
    put_taken_back();
}

// Decides on the next try after one that was over its limit.
void set_next_try(const VirtualTransactionId &holder) {
    const bool stuck =
        VirtualTransactionIdIsValid(holder) && VirtualTransactionIdEquals(holder, last_holder);
    last_holder = holder;
    limit_ms = stuck ? first_limit_ms : std::min(2 * limit_ms, longest_limit_ms);
    pause_us = stuck ? retry_us : std::min<int64>(limit_ms * INT64CONST(500), retry_us);
}

void note_failure(int slot, const ErrorData *error) {
    const char *why = error->message;
    pause_us = retry_us;
    if (was_over_limit()) {
        const VirtualTransactionId holder = holder_of_notify();
        why = VirtualTransactionIdIsValid(holder)
                  ? psprintf("NOTIFY waits for a lock, which process %d holds", pid_of(holder))
                  : psprintf("NOTIFY took longer than %d ms", limit_ms);
        set_next_try(holder);
    }
    since_failure.emplace();
    waits = true;
    show_unannounced(slot, why);
    if (!logged_failure)
        ereport(WARNING, (errcode(error->sqlerrcode), errmsg("notifying consumers failed: %s", why),
                          errhint("It is tried again every second; meanwhile consumers find "
                                  "jobs by polling.")));
    logged_failure = true;
}

// The limit shrinks slowly: where commits have the lock in turn, the next announcement takes as
// long.
void note_success(int slot) {
    if (waits)
        show_unannounced(slot, nullptr);
    waits = logged_failure = false;
    SetInvalidVirtualTransactionId(last_holder);
    limit_ms = std::max(limit_ms - limit_ms / 8, first_limit_ms);
}

// Returns null, or why it failed.
const ErrorData *announce() {
    limit_time(limit_ms);
    const ErrorData *const error = try_transaction([] { notify(taken, taken_count); });
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

void prepare_announcing() {
    before_shmem_exit(at_exit, 0);
    keep_notices();
}

// Walks over the flags once, however many are set meanwhile: sweeps go on, and no queue is passed
// over.
bool announce_pending(int slot) {
    if (waits && since_failure->us() < pause_us)
        return false;
    do {
        const RecordNumber began = next_record;
        taken_count = take_announcements(taken, lengthof(taken), &next_record);
        if (taken_count == 0 && kept_notices() == nullptr)
            continue;
        if (const ErrorData *const error = announce()) {
            next_record = began;
            note_failure(slot, error);
            return false;
        }
    } while (next_record != 0);
    note_success(slot);
    return true;
}

bool announcements_wait() {
    return waits;
}

TimestampTz next_announcement(TimestampTz now) {
    return waits ? now + std::max<int64>(pause_us - since_failure->us(), 0) : DT_NOEND;
}

void gather_announcements() {
    static Backoff pause_us{1000, 4000};
    if (!sent)
        return;
    sent = false;
    pg_usleep(static_cast<long>(pause_us.next()));
    if (!MyLatch->is_set)
        pause_us.reset();
}

} // namespace ecto_job
