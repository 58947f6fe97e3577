// The procedure wait(): a session waits for a job of a queue, without a transaction's snapshot.
//
// A procedure that is called outside of a transaction block may commit. So each search for a job
// has a transaction of its own, and while the session sleeps there is none that holds back VACUUM.
// shared/waiters.hpp says why no wake-up is lost.
#include <algorithm>
#include <chrono>

#include "functions/arguments.hpp"
#include "functions/composite.hpp"
#include "pg/compat.hpp"
#include "pg/names.hpp"
#include "queue/claim_start.hpp"
#include "queue/queue_settings.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {
namespace {

// A clock that nobody sets
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// The time to the next search where nobody wakes the session: without preload, and while the table
// is locked.
constexpr milliseconds unwoken_interval{1000};
constexpr milliseconds longest_sleep{3'600'000}; // WaitLatch has a limit
constexpr milliseconds longest_pause{1000};

struct Wait {
    Oid queue;
    NameData table; // the name at the beginning
    Clock::time_point began;
    Clock::time_point ends;
    milliseconds poll_interval;
    bool may_be_woken; // else it would take wake-ups that it cannot use
};

// The job for which this session's last wait returned true. If the next wait finds this job again,
// it pauses before it returns: claims do not get the job, since a transaction has locked the row or
// since claims skip the job, and a client that claims and waits in turn would occupy a processor.
struct Reported {
    Oid queue = InvalidOid;
    JobKey key = {};
    milliseconds pause = {};
};
Reported reported;

// What a search found
struct Found {
    bool searched; // false: the table is locked
    std::optional<JobKey> job;
};

void require_no_transaction_block(FunctionCallInfo fcinfo) {
    const auto *const call = reinterpret_cast<const CallContext *>(fcinfo->context);
    if (call == nullptr || !IsA(call, CallContext) || call->atomic || IsSubTransaction())
        ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                        errmsg("ecto_job.wait cannot run inside a transaction block"),
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

// Returns how long a wait may last. A little before statement_timeout it returns, where it would be
// cancelled.
milliseconds limit_of(int64 timeout_ms) {
    int64 limit_ms = std::min(timeout_ms, longest_setting_ms);
    if (get_timeout_active(STATEMENT_TIMEOUT)) {
        const int64 left_ms =
            (get_timeout_finish_time(STATEMENT_TIMEOUT) - GetCurrentTimestamp()) / 1000;
        limit_ms = std::min(limit_ms, left_ms - std::clamp<int64>(left_ms / 10, 10, 1000));
    }
    return milliseconds(std::max<int64>(limit_ms, 0));
}

// Searches for an AVAILABLE job of the queue, by a snapshot of this moment. SPI is connected.
Found search_now(Wait *wait) {
    // Otherwise the search might make another session's SERIALIZABLE transaction fail
    set_config_option("transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION,
                      GUC_ACTION_LOCAL, true, 0, false);
    if (!ConditionalLockRelationOid(wait->queue, AccessShareLock))
        return {false, std::nullopt};
    if (table_name_or_null(wait->queue) == nullptr)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_TABLE),
                 errmsg("queue \"%s\" was dropped while the session waited", NameStr(wait->table)),
                 errhint("The view ecto_job.queues lists the queues.")));
    Queue *const queue = find_queue(wait->queue);
    require_select(queue->oid);
    wait->poll_interval = milliseconds(queue->poll_interval_ms);
    return {true, is_paused(queue) ? std::nullopt : find_available(queue)};
}

// Searches in a transaction of its own. Its SPI connection ends with it, since SPI frees what a
// statement has left only then.
Found search(Wait *wait) {
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    const Found found = search_now(wait);
    SPI_commit();
    SPI_finish();
    return found;
}

bool is_reported(const Wait &wait, const JobKey &job) {
    return reported.queue == wait.queue && reported.key == job;
}

void report_job(const Wait &wait, const JobKey &job) {
    constexpr milliseconds first_pause{1};
    const milliseconds pause =
        is_reported(wait, job) ? std::min(2 * reported.pause, longest_pause) : first_pause;
    reported = {wait.queue, job, pause};
}

// Sleeps until a commit wakes this session, at most until that time. Returns earlier if PostgreSQL
// asks the session to take in invalidations, which the next search does.
void sleep_until(Clock::time_point until) {
    Assert(!TransactionIdIsValid(MyProc->xmin));
    for (;;) {
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

// Returns when the next search is due if nobody wakes the session.
Clock::time_point next_search(const Wait &wait, const Found &found) {
    const bool is_woken_by_others = found.searched && is_state_shared() && wait.may_be_woken;
    milliseconds interval = is_woken_by_others ? wait.poll_interval : unwoken_interval;
    // PostgreSQL has begun a transaction, though one without a snapshot
    if (const int limit_ms = transaction_timeout_ms())
        interval = std::min(interval, milliseconds(limit_ms / 2));
    const Clock::time_point next = Clock::now() + std::min(interval, longest_sleep);
    return found.job ? std::min(next, wait.began + reported.pause) : next;
}

// Waits until there is a job, or the time is up; returns whether there is a job.
bool wait_for_job(Wait *wait) {
    if (wait->may_be_woken)
        start_waiting(wait->queue);
    for (;;) {
        const bool woken = take_wake_up() == WakeUp::by_commit;
        const Found found = search(wait);
        if (found.searched && !found.job)
            drop_wake_up();
        const Clock::time_point now = Clock::now();
        const bool is_over = now >= wait->ends;
        if (found.job && (woken || is_over || !is_reported(*wait, *found.job) ||
                          now >= wait->began + reported.pause)) {
            report_job(*wait, *found.job);
            stop_waiting(true);
            return true;
        }
        if (is_over) {
            stop_waiting(false);
            return false;
        }
        sleep_until(std::min(next_search(*wait, found), wait->ends));
    }
}

} // namespace
} // namespace ecto_job

using namespace ecto_job;

ECTO_JOB_FUNCTION(ecto_job_wait) {
    enum { timeout = 1 };
    constexpr int64 shortest_ms = 0;
    require_no_transaction_block(fcinfo);
    PreventCommandDuringRecovery("wait"); // no consumer can claim on a standby
    const DeclaredRow columns = declared_row(fcinfo);
    SPI_connect_ext(SPI_OPT_NONATOMIC);
    const Queue *const queue = find_queue(table_argument(fcinfo));
    require_select(queue->oid);
    const milliseconds limit =
        limit_of(required_interval_argument(fcinfo, timeout, queue, "timeout", shortest_ms));
    const Clock::time_point now = Clock::now();
    Wait wait{
        queue->oid,           queue->table, now, now + limit, milliseconds(queue->poll_interval_ms),
        can_claim(queue->oid)};
    SPI_commit();
    SPI_finish();
    Datum available = BoolGetDatum(wait_for_job(&wait));
    bool is_null = false;
    return to_row(columns, &available, &is_null);
}
