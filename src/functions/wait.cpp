// The procedures wait() and wait_any(): a session waits for a job of a queue, or of several,
// without a transaction's snapshot.
//
// A procedure that is called outside of a transaction block may commit. So each search for a job
// has a transaction of its own, and while the session sleeps there is none that holds back VACUUM.
// shared/waiters.hpp says why no wake-up is lost.
#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "functions/arguments.hpp"
#include "functions/composite.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/claim_start.hpp"
#include "queue/queue_settings.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {
namespace {

// A monotonic clock
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// The time to the next search where nobody wakes the session: without preload, while the table is
// locked, or if the session cannot claim every job of the queue.
constexpr milliseconds unwoken_interval{1000};
constexpr milliseconds longest_sleep{3'600'000}; // WaitLatch has a limit
constexpr milliseconds longest_pause{1000};

struct WaitedQueue {
    Oid oid;
    NameData table; // the name at the beginning
    milliseconds poll_interval;
    bool may_be_woken; // else it would take wake-ups that it cannot use
};

struct Wait {
    std::array<WaitedQueue, max_waited_queues> all;
    Size count;
    Clock::time_point began;
    Clock::time_point ends;
};

std::span<WaitedQueue> queues_of(Wait *wait) {
    return {wait->all.data(), wait->count};
}

// The job of a queue for which this session's last wait returned. If the next wait finds this job
// again, claims evidently do not get the job: its row is locked, or they skip it. The wait then
// pauses before it returns; without the pause a client that claims and waits in turn would use a
// whole processor.
struct Returned {
    Oid queue = InvalidOid;
    JobKey key = {};
    milliseconds pause = {};
};
std::array<Returned, max_waited_queues> returned; // the most recent first

// What a search found
struct Found {
    const WaitedQueue *queue = nullptr; // null: no job
    JobKey job = {};
    // A wait has returned for the job before: this one returns for it only after `pause_ends`, or
    // at the wait's end
    bool pauses = false;
    milliseconds interval = longest_sleep; // to the next search, if nobody wakes the session
    Clock::time_point pause_ends = Clock::time_point::max(); // the first end of such a pause
};

void require_no_transaction_block(FunctionCallInfo fcinfo, const char *procedure) {
    const auto *const call = reinterpret_cast<const CallContext *>(fcinfo->context);
    if (call == nullptr || !IsA(call, CallContext) || call->atomic || IsSubTransaction())
        ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                        errmsg("ecto_job.%s cannot run inside a transaction block", procedure),
                        errdetail("While it waits it must hold no snapshot."),
                        errhint("Call it in autocommit, as the only statement that is sent; with "
                                "psql in a -c option of its own.")));
}

void require_select(Oid table) {
    if (pg_class_aclcheck(table, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
        pg_attribute_aclcheck_all(table, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, shown_table_name(table));
}

// Returns whether the caller can claim every job of the queue.
bool can_claim(Oid table) {
    const AttrNumber state = get_attnum(table, "state");
    return check_enable_rls(table, InvalidOid, true) != RLS_ENABLED &&
           (pg_class_aclcheck(table, GetUserId(), ACL_UPDATE) == ACLCHECK_OK ||
            (AttributeNumberIsValid(state) &&
             pg_attribute_aclcheck(table, state, GetUserId(), ACL_UPDATE) == ACLCHECK_OK));
}

// Returns how long a wait may last. A wait ends a little before statement_timeout, which would
// cancel it.
milliseconds limit_of(int64 timeout_ms) {
    int64 limit_ms = std::min(timeout_ms, longest_setting_ms);
    if (get_timeout_active(STATEMENT_TIMEOUT)) {
        const int64 left_ms =
            (get_timeout_finish_time(STATEMENT_TIMEOUT) - GetCurrentTimestamp()) / 1000;
        limit_ms = std::min(limit_ms, left_ms - std::clamp<int64>(left_ms / 10, 10, 1000));
    }
    return milliseconds(std::max<int64>(limit_ms, 0));
}

// Returns the entry of the queue, or else the oldest entry.
Returned *entry_of(Oid queue) {
    const auto at = std::find_if(returned.begin(), returned.end() - 1,
                                 [queue](const Returned &each) { return each.queue == queue; });
    return &*at;
}

// Returns how long a wait pauses before it returns for this job.
milliseconds pause_before(Oid queue, const JobKey &job) {
    const Returned &last = *entry_of(queue);
    return last.queue == queue && last.key == job ? last.pause : milliseconds::zero();
}

void record_returned(Oid queue, const JobKey &job) {
    constexpr milliseconds first_pause{1};
    const milliseconds pause = std::clamp(2 * pause_before(queue, job), first_pause, longest_pause);
    Returned *const last = entry_of(queue);
    std::rotate(returned.data(), last, last + 1);
    returned.front() = {queue, job, pause};
}

// Searches for an AVAILABLE job of the queue, by a snapshot of this moment. SPI is connected, and
// the queue's table locked.
std::optional<JobKey> search_in(WaitedQueue *waited) {
    if (table_name_or_null(waited->oid) == nullptr)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("queue \"%s\" was dropped while the session waited",
                               NameStr(waited->table)),
                        errhint("The view ecto_job.queues lists the queues.")));
    Queue *const queue = find_queue(waited->oid);
    require_select(queue->oid);
    waited->poll_interval = milliseconds(queue->poll_interval_ms);
    return is_paused(queue) ? std::nullopt : find_available(queue);
}

// Returns the time to the next search in the queue if nobody wakes the session.
milliseconds search_interval(const WaitedQueue &queue, bool searched) {
    const bool is_woken_by_others = searched && is_state_shared() && queue.may_be_woken;
    milliseconds interval = is_woken_by_others ? queue.poll_interval : unwoken_interval;
    // transaction_timeout would end the transaction in which the session sleeps
    if (const int limit_ms = transaction_timeout_ms())
        interval = std::min(interval, milliseconds(limit_ms / 2));
    return interval;
}

// Searches the queues one after the other, up to a job for which the wait returns at once. SPI is
// connected.
Found search_now(Wait *wait) {
    Found found;
    for (WaitedQueue &queue : queues_of(wait)) {
        const bool searched = ConditionalLockRelationOid(queue.oid, AccessShareLock);
        const std::optional<JobKey> job = searched ? search_in(&queue) : std::nullopt;
        found.interval = std::min(found.interval, search_interval(queue, searched));
        if (searched && !job)
            drop_wake_up(queue.oid);
        if (!job)
            continue;
        const Clock::time_point pause_ends = wait->began + pause_before(queue.oid, *job);
        const bool pauses =
            Clock::now() < pause_ends && taken_wake_up(queue.oid) != WakeUp::by_commit;
        if (!pauses || found.queue == nullptr) {
            found.queue = &queue;
            found.job = *job;
            found.pauses = pauses;
        }
        if (!pauses)
            break;
        found.pause_ends = std::min(found.pause_ends, pause_ends);
    }
    return found;
}

// Searches in a transaction of its own. Connects SPI anew, since SPI frees a statement's memory
// only at SPI_finish().
Found search(Wait *wait) {
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    // Otherwise the search might make another session's SERIALIZABLE transaction fail
    set_config_option("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION,
                      GUC_ACTION_LOCAL, true, 0, false);
    const Found found = search_now(wait);
    SPI_commit();
    SPI_finish();
    return found;
}

// Ends the session if its client is gone: statements that a client has sent together with the wait,
// before it died, must not claim the job, however the wait ends. The session of a background worker
// has no client.
void require_client() {
    if (MyProcPort == nullptr || pq_check_connection())
        return;
    whereToSendOutput = DestNone;
    ereport(FATAL, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost")));
}

// Sleeps until a commit wakes this session, at most until that time. Returns earlier if PostgreSQL
// asks the session to take in invalidations, which the next search does.
void sleep_until(Clock::time_point until) {
    Assert(!TransactionIdIsValid(MyProc->xmin));
    for (;;) {
        if (QueryCancelPending)
            require_client();
        CHECK_FOR_INTERRUPTS();
        const auto left =
            std::min(std::chrono::ceil<milliseconds>(until - Clock::now()), longest_sleep);
        if (left <= milliseconds::zero() || is_woken() || catchupInterruptPending)
            return;
        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                  static_cast<long>(left.count()), job_wait_event());
        ResetLatch(MyLatch);
    }
}

// Enters the session in the lists of the queues whose jobs it can claim.
void start_waiting_for(Wait *wait) {
    std::array<Oid, max_waited_queues> entered = {};
    Size count = 0;
    for (const WaitedQueue &queue : queues_of(wait))
        if (queue.may_be_woken)
            entered[count++] = queue.oid;
    if (count > 0)
        start_waiting({entered.data(), count});
}

// Puts the queue for which a wait has returned last, of those of this wait, behind the others, so
// that a client that waits and claims in turn is not kept in the first queue that is busy.
void rotate_queues(Wait *wait) {
    const std::span<WaitedQueue> queues = queues_of(wait);
    for (const Returned &each : returned) {
        const auto last =
            std::find_if(queues.begin(), queues.end(),
                         [&each](const WaitedQueue &queue) { return queue.oid == each.queue; });
        if (last != queues.end()) {
            std::rotate(queues.begin(), last + 1, queues.end());
            return;
        }
    }
}

// Puts queues first for which the session has a wake-up, and keeps the order otherwise. If the wait
// returned for another queue, it would pass the wake-up on and wake another session needlessly.
void advance_woken(Wait *wait) {
    const std::span<WaitedQueue> queues = queues_of(wait);
    auto others = queues.begin();
    for (auto at = queues.begin(); at != queues.end(); ++at)
        if (taken_wake_up(at->oid) != WakeUp::none)
            std::rotate(others++, at, at + 1);
}

// Waits until there is a job, or the time is up; returns the queue of the job, or InvalidOid.
Oid wait_for_job(Wait *wait) {
    rotate_queues(wait);
    start_waiting_for(wait);
    for (;;) {
        take_wake_up();
        advance_woken(wait);
        const Found found = search(wait);
        const Clock::time_point now = Clock::now(); // a search may take longer than an interval
        const bool is_over = now >= wait->ends;
        const bool has_job = found.queue != nullptr && (is_over || !found.pauses);
        if (is_over || has_job) {
            require_client();
            if (has_job)
                record_returned(found.queue->oid, found.job);
            const Oid queue = has_job ? found.queue->oid : InvalidOid;
            stop_waiting(queue);
            return queue;
        }
        sleep_until(std::min({now + found.interval, found.pause_ends, wait->ends}));
    }
}

// Adds a queue, unless the wait has it. SPI is connected.
void add_queue(Wait *wait, Oid table) {
    for (const WaitedQueue &queue : queues_of(wait))
        if (queue.oid == table)
            return;
    if (wait->count == wait->all.size())
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("a session cannot wait for more than %d queues", max_waited_queues),
                        errhint("Give %d queues to a session, and the others to further sessions.",
                                max_waited_queues)));
    const Queue *const queue = find_queue(table);
    require_select(queue->oid);
    wait->all[wait->count++] = {queue->oid, queue->table, milliseconds(queue->poll_interval_ms),
                                can_claim(queue->oid)};
}

void add_queues(Wait *wait, FunctionCallInfo fcinfo) {
    ArrayType *const array = PG_ARGISNULL(queue_at) ? nullptr : PG_GETARG_ARRAYTYPE_P(queue_at);
    if (array == nullptr || array_contains_nulls(array))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                        errmsg(array == nullptr ? "queues must not be null"
                                                : "queues must not contain nulls"),
                        errhint("Give the queues' tables, such as '{jobs,app.jobs}'.")));
    const int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
    if (count == 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("queues must not be empty"),
                 errhint("Give the queues' tables, such as '{jobs,app.jobs}'.")));
    for (int i = 0; i < count; i++)
        add_queue(wait, reinterpret_cast<const Oid *>(ARR_DATA_PTR(array))[i]);
}

// The frame of both procedures: waits for the queues that add(wait) adds, and returns the queue
// that has a job, or InvalidOid. `procedure`: the name for errors.
template <typename F> Oid wait_for(FunctionCallInfo fcinfo, const char *procedure, F add) {
    enum { timeout = 1 };
    constexpr int64 shortest_ms = 0;
    require_no_transaction_block(fcinfo, procedure);
    PreventCommandDuringRecovery(procedure); // no consumer can claim on a standby
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    Wait wait = {};
    add(&wait);
    const Queue *const first = find_queue(wait.all[0].oid);
    const milliseconds limit =
        limit_of(required_interval_argument(fcinfo, timeout, first, "timeout", shortest_ms));
    wait.began = Clock::now();
    wait.ends = wait.began + limit;
    SPI_commit();
    SPI_finish();
    return wait_for_job(&wait);
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_wait) {
    const DeclaredRow columns = declared_row(fcinfo);
    const Oid found =
        wait_for(fcinfo, "wait", [fcinfo](Wait *wait) { add_queue(wait, table_argument(fcinfo)); });
    Datum available = BoolGetDatum(OidIsValid(found));
    bool is_null = false;
    return to_row(columns, &available, &is_null);
}

ECTO_JOB_FUNCTION(ecto_job_wait_any) {
    const DeclaredRow columns = declared_row(fcinfo);
    const Oid found =
        wait_for(fcinfo, "wait_any", [fcinfo](Wait *wait) { add_queues(wait, fcinfo); });
    Datum queue = ObjectIdGetDatum(found);
    bool is_null = !OidIsValid(found);
    return to_row(columns, &queue, &is_null);
}
