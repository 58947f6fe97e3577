// Shared memory and its lock: which scheduler serves which database, what sessions request of the
// launcher, and how the sweeps of each queue go.
//
// One LWLock guards everything but the waiters, which have another one. A process holds it while it
// reads small arrays, and never while it waits. A spinlock of each queue's record also guards what
// commits write there, so that commits need the LWLock in shared mode only. A crash empties shared
// memory. Every fact that the work needs can be found again in the tables; counters of the status,
// and pauses after failures, are lost. Without preload there is no shared memory, and
// `shared_state()` is null; a scheduler that was started on demand has a state in its own memory,
// so that its code is the same.
//
// The records of queues are two arrays. The first, of ecto_job.max_queues, is part of the server's
// shared memory. The second is address space that the postmaster maps at its start, and that all
// its children inherit. The kernel gives it memory page by page, when a record is first used. So
// taking a record allocates nothing, and every process can reach every record: a callback at commit
// could handle no failure.
#pragma once

#include <bitset>
#include <span>

#include "core/agenda.hpp"
#include "core/key.hpp"
#include "core/owner_backoff.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// The states of a scheduler's slot. Every arrow is a call of move() in scheduler_slots.cpp, which
// asserts that it is one of these. A reading of the registry may repeat `working` or `outdated`.
//
//   free --> requested --> connecting --> working <--> outdated
//   requested --> free
//   connecting, working, outdated --> leaving
//   connecting, working, outdated, leaving --> ended --> free
//
// free        no scheduler has the slot
// requested   the launcher has registered a background worker, which has not attached itself yet
// connecting  the process runs, and does not know yet whether the database has queues
// working     the scheduler has found queues
// outdated    the extension is newer than the library
// leaving     the scheduler ends, since it has nothing to do or must leave; no session relies on it
// ended       the process has ended, and the launcher has not freed the slot yet
enum class SchedulerState : uint8 {
    free,
    requested,
    connecting,
    working,
    outdated,
    leaving,
    ended
};

// How a scheduler ended: by leaving; during a sweep, after which the queue and its owner back off;
// or otherwise, after which the launcher pauses before it starts the next one.
enum class SchedulerEnd : uint8 { left, died_in_sweep, failed };

// A scheduler's entry. Guarded by the lock of the shared state.
struct SchedulerSlot {
    SchedulerState state = SchedulerState::free;
    SchedulerEnd end = SchedulerEnd::failed; // valid in state ended
    bool rescan = false;         // a request to read the registry and update every queue
    bool asked_to_leave = false; // by a session that needs the database
    bool serves = false;         // it announces at once what commits report
    Oid database = InvalidOid;
    uint64 generation = 0;          // of the launcher that registered it
    Latch *latch = nullptr;         // from connecting to leaving
    char why_unannounced[128] = {}; // why notifications cannot be sent; empty: they can
    TimestampTz sleeps_until = 0;   // unless signalled; DT_NOBEGIN: no reported time wakes it
};

// A key below which no job is AVAILABLE, so that claims start there. See low_water.hpp.
struct LowWater {
    bool known = false;
    JobKey key = {};
    TimestampTz checked = 0;    // when a scan from the beginning last ended
    TimestampTz relied = 0;     // since when claims have relied on an old mark; 0: they have not
    TimestampTz scan_began = 0; // when a scan began that has not ended; 0: none
    uint64 advance = 0;         // the number of the advance under way, and
    TimestampTz advance_began = 0;
    JobKey lowered_to = {}; // the lowest key that was made AVAILABLE since the advance began
};

// The number of a record, from 1; 0: none.
using RecordNumber = uint32;
// Jobs that claims or sweeps skip, because changing them fails
struct SkippedJobs {
    TimestampTz until; // the last fault counts as recent until then; 0: no fault
    int32 count;
    bool all; // no other job was changed since
    char reason[160];
};

// What commits and ended sessions have reported of a queue and the scheduler has not taken yet.
struct Mailbox {
    bool available = false; // jobs became AVAILABLE: announce them
    Report report;
};

// How the sweeps of a queue go, for the view ecto_job.queues. Only the database's scheduler writes
// it. The next scheduler reads from it how long a failing queue backs off.
struct Health {
    TimestampTz last_sweep = 0;      // 0: none yet
    TimestampTz next_due = DT_NOEND; // earliest schedule of a job that waits; DT_NOEND: none
    int64 activated = 0, expired = 0, failed = 0;
    int32 failures = 0;          // in a row; 0: the sweeps work
    int sqlstate = 0;            // of the failure that was logged last
    bool locked = false;         // the last sweep found the table locked
    bool in_sweep = false;       // still set at the next start: the scheduler died of the sweep
    TimestampTz sweep_began = 0; // valid while in_sweep
    int64 batch_us = 0;          // how long the last batch took, and
    int64 batch_jobs = 0;        // how many jobs it moved
    char error[256] = "";
};

// A queue's record.
struct QueueRecord {
    // Every loop over the queues of a database reads these fields, so they share few cache lines
    Oid database = InvalidOid; // InvalidOid: a free record
    Oid queue = InvalidOid;
    RecordNumber next_of_key = 0; // or of those that are free
    RecordNumber next_of_database = 0;

    slock_t mutex = {}; // guards the mailbox, the mark and health.next_due
    Mailbox mailbox;
    LowWater low_water = {};

    Health health;
    SkippedJobs skipped_by_claims = {}; // `until`: how long claims isolate rows
    SkippedJobs skipped_by_sweeps = {};
};

// How often sweeps of this owner's queues have ended the scheduler. See owner_backoff.hpp.
struct OwnerBackoff {
    Oid database = InvalidOid;
    Oid owner = InvalidOid;
    Deaths deaths = {};
};

// What a transaction did to a queue, or the end of a session.
struct Change {
    Oid queue = InvalidOid;
    bool available = false;      // a job became AVAILABLE: to be announced
    JobKey lowest = highest_key; // lowest key of a job that became AVAILABLE, or was moved
    Report report = {};
    uint32 wake_ups = 0; // how many waiters to wake; all_waiters: everybody
    uint32 claimed = 0;  // how many jobs claims have taken, which a rollback gives back
};

// The note of a prepared transaction, kept until the transaction is finished. See
// prepared_notes.hpp.
constexpr int max_prepared_changes = 4;
constexpr uint32 prepared_bits = 1024;
struct PreparedNote {
    Oid database = InvalidOid; // InvalidOid: a free note
    char gid[GIDSIZE] = {};
    bool signals = false; // the scheduler
    int count = 0;
    Change changes[max_prepared_changes] = {};
    // A bit for each further queue, by the queue's hash: anything may have happened there. Few
    // other queues have one of these bits, unless the transaction wrote to hundreds of queues.
    std::bitset<prepared_bits> further = {};
};

// What sessions have requested of the launcher and the launcher has not taken yet.
constexpr int max_start_requests = 64;
struct LauncherRequests {
    bool start_all = false;     // a scheduler in every database; requested by each launcher's start
    bool database_scan = false; // of pg_database, for databases that the launcher does not know
    int count = 0;
    Oid databases[max_start_requests] = {}; // a scheduler in each of these
};

// What the launcher and the sessions share.
struct LauncherState {
    uint64 generation = 0; // of the launcher: a scheduler of another one leaves
    Latch *latch = nullptr;
    LauncherRequests requests = {.start_all = true};
    bool no_worker_slot = false; // its last try to start a scheduler failed
    bool some_closed = false;    // its last scan of pg_database found some that are closed
    TimestampTz scanned = 0;     // when that was
};

// The records of queues, and the lists by which they are found.
constexpr int record_lists = 8192;  // by database and queue
constexpr int database_lists = 256; // by database
struct RecordTable {
    std::span<QueueRecord> first;
    std::span<QueueRecord> further; // empty: the address space could not be mapped
    Size used = 0;                  // no record from here on was ever given to a queue
    RecordNumber free = 0;          // the first of those that were released
    RecordNumber by_key[record_lists] = {};
    RecordNumber by_database[database_lists] = {};
};

// The numbers of live sessions with bound leases. See session_leases.hpp.
struct LiveSessions {
    uint32 last = 0;           // 0: none yet
    std::span<uint32> numbers; // by process; 0: it has none
};

// A session that waits for jobs, by its process. See waiters.hpp.
constexpr int max_waited_queues = 16; // of one session
enum class WakeUp : uint8 {
    none,
    passed_on, // by a session that did not use it: perhaps nobody can claim the job
    by_commit  // that brought a job, or by a rollback that gave one back
};
using WaiterNumber = uint32; // of a session's place in the list of one of its queues; 0: none
struct WaiterPlace {
    Oid queue = InvalidOid;
    WaiterNumber next = 0;
    WaiterNumber previous = 0;
};
struct Waiter {
    Oid database = InvalidOid;   // InvalidOid: the process does not wait
    WakeUp woken = WakeUp::none; // it was given a wake-up and has not taken it yet
    uint8 woken_at = 0;          // for the queue of this place
    uint64 ticket = 0;           // its place in the order of arrival
    WaiterPlace places[max_waited_queues] = {};
};
struct WaiterList {
    WaiterNumber first = 0; // has waited longest
    WaiterNumber last = 0;
};
constexpr int waiter_lists = 256; // by database and queue
struct Waiters {
    LWLock *lock = nullptr; // guards the lists; null in a private state
    uint64 last_ticket = 0;
    pg_atomic_uint32 count = {}; // of sessions; commits read it without the lock
    std::span<Waiter> by_process = {};
    WaiterList lists[waiter_lists] = {};
};

constexpr int max_owner_backoffs = 64;

struct SharedState {
    LWLock *lock = nullptr;
    LauncherState launcher = {};
    std::span<SchedulerSlot> schedulers = {};
    RecordTable records = {};
    std::span<PreparedNote> prepared = {};
    LiveSessions sessions = {};
    Waiters waiters = {};
    OwnerBackoff owner_backoffs[max_owner_backoffs] = {};
};

// Returns the hash of a queue by which its record and the sessions that wait for it are found.
inline uint32 hash_of(Oid database, Oid queue) {
    return hash_combine(murmurhash32(database), murmurhash32(queue));
}

// Requests the shared memory and sets it up. Called once, while shared_preload_libraries are
// loaded.
void install_shared_state();

// Makes a state in this process's own memory, for a scheduler where the library is not preloaded.
void make_private_state();

// Returns the state; null where the library is not preloaded, except in such a scheduler.
SharedState *shared_state();

// Returns false for a private state: no session reports to it, so its scheduler polls.
bool is_state_shared();

// Holds a lock, by default that of the shared state, for a scope, in which nothing may raise: an
// ERROR is a longjmp and skips the destructor.
class SharedLock {
public:
    explicit SharedLock(LWLockMode mode, LWLock *lock = shared_state()->lock) : lock_(lock) {
        Assert(!LWLockHeldByMe(lock_));
        LWLockAcquire(lock_, mode);
    }
    ~SharedLock() { LWLockRelease(lock_); }
    SharedLock(const SharedLock &) = delete;
    SharedLock &operator=(const SharedLock &) = delete;

private:
    LWLock *lock_;
};

// Holds a record's spinlock for a scope of a few assignments: waiting for it occupies a processor.
class RecordLock {
public:
    explicit RecordLock(QueueRecord *record) : record_(record) { SpinLockAcquire(&record_->mutex); }
    ~RecordLock() { SpinLockRelease(&record_->mutex); }
    RecordLock(const RecordLock &) = delete;
    RecordLock &operator=(const RecordLock &) = delete;

private:
    QueueRecord *record_;
};

inline void assert_locked() {
    Assert(LWLockHeldByMe(shared_state()->lock));
}
inline void assert_locked_exclusively() {
    Assert(LWLockHeldByMeInMode(shared_state()->lock, LW_EXCLUSIVE));
}

} // namespace ecto_job
