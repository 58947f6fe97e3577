// The one piece of shared memory, and its lock: who schedules which database, what sessions request
// of the launcher, and what the sweeps of each queue came to.
//
// Everything is guarded by one LWLock, held while small arrays are read and never while anything is
// waited for. What commits write into a queue's record is besides guarded by a spinlock of that
// record, so that they share the LWLock. A crash empties all of it; nothing here is the only place
// that knows a fact. Where the library is not preloaded there is none, and `shared_state()` is
// null; but a scheduler that was started by hand has a state in its own memory, so that its code is
// the same.
//
// The records of queues come in two arrays. The first, of ecto_job.max_queues, is part of the
// server's shared memory. The second is address space that the postmaster maps at its start and
// that all its children inherit; the kernel gives it memory page by page, when a record is first
// used. So places come with the queues that need them, and taking one allocates nothing that could
// fail, nor is there a place that some process cannot reach, which callbacks at commit could not
// mend.
#pragma once

#include <bitset>
#include <span>

#include "core/agenda.hpp"
#include "core/fairness.hpp"
#include "core/key.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// The life of a scheduler that the launcher asked for. Every arrow is a call of move() in
// scheduler_slots.cpp, which asserts that it is one of these:
//
//   free --> requested --> connecting --> working <--> outdated
//    ^           |             |             |             |
//    |           |             +-------------+-------------+--> leaving --+
//    |           |             |             |             |              |
//    |           v             v             v             v              |
//    +-----------+---------------------- ended <--------------------------+
//
// free        the slot is nobody's
// requested   the launcher has registered a background worker, which has not attached itself yet
// connecting  the process is there, and has not found out yet whether it has anything to do
// working     it has found queues
// outdated    it has, and cannot serve them: the extension's SQL is newer than the library
// leaving     it ends because it has nothing to do or was asked to; nobody counts on it any more
// ended       its process is gone, and the launcher has not taken note of that
enum class SchedulerState : uint8 {
    free,
    requested,
    connecting,
    working,
    outdated,
    leaving,
    ended
};

// How a scheduler ended: it left; in a sweep of a queue, for which that queue and its owner wait,
// and nobody else; or otherwise, so that the launcher pauses before it starts the next one.
enum class SchedulerEnd : uint8 { left, died_in_sweep, failed };

// A scheduler that the launcher asked for. Guarded by the lock of the shared state.
struct SchedulerSlot {
    SchedulerState state = SchedulerState::free;
    SchedulerEnd end = SchedulerEnd::failed; // ended: how
    bool rescan = false;         // it is to read the registry and look at every queue again
    bool asked_to_leave = false; // by a session that needs the database
    bool serves = false;         // it announces at once what commits report
    Oid database = InvalidOid;
    uint64 generation = 0;        // of the launcher that asked for it
    Latch *latch = nullptr;       // from connecting to leaving
    char unannounced[128] = {};   // why notifications cannot be sent; empty: they can
    TimestampTz sleeps_until = 0; // unless signalled; DT_NOBEGIN: no time that comes wakes it
};

// A key below which no job is AVAILABLE, so that claims start there. See low_water.hpp.
struct LowWater {
    bool known = false;
    JobKey key = {};
    TimestampTz checked = 0;    // when a scan from the beginning last ended
    TimestampTz relied = 0;     // since when claims relied on it nevertheless; 0: they have not
    TimestampTz scan_began = 0; // when a scan began that has not ended; 0: none
    uint64 advance = 0;         // the number of the advance under way, and
    TimestampTz advance_began = 0;
    JobKey lowered_to = {}; // the lowest key that was made AVAILABLE since it began
};

// The number of a record, from 1; 0: none.
using RecordNumber = uint32;
// Jobs that are left out of claims or of sweeps, because what these do to them fails
struct LeftOutJobs {
    TimestampTz until; // 0: none was
    int32 count;
    bool all; // that were tried: no other has moved since
    char reason[160];
};

// What commits and ended sessions have done to a queue, until its database's scheduler takes it.
struct Mailbox {
    bool available = false; // jobs became AVAILABLE: announce them
    Report report;
};

// How the sweeps of a queue go, for the view ecto_job.queues. Written by the database's scheduler
// alone, and read by the next one, which goes on where a failing queue waits.
struct Health {
    TimestampTz last_sweep = 0;      // 0: none yet
    TimestampTz next_due = DT_NOEND; // earliest schedule of a job that waits; DT_NOEND: none
    int64 activated = 0, expired = 0, failed = 0;
    int32 failures = 0;          // in a row; 0: the sweeps work
    int sqlstate = 0;            // of the failure that was logged last
    bool locked = false;         // the last sweep found the table locked
    bool in_sweep = false;       // still set at the next start: the scheduler died of the sweep
    TimestampTz sweep_began = 0; // in_sweep
    int64 batch_us = 0;          // how long the last batch took, and
    int64 batch_jobs = 0;        // how many jobs it moved
    char error[256] = "";
};

// What all sessions know of a queue.
struct QueueRecord {
    // What each pass over all queues of a database reads comes first, in few cache lines
    Oid database = InvalidOid; // InvalidOid: a free record
    Oid queue = InvalidOid;
    RecordNumber next_of_key = 0; // or of those that are free
    RecordNumber next_of_database = 0;

    slock_t mutex = {}; // guards the mailbox and the mark
    Mailbox mailbox;
    LowWater low_water = {};

    Health health;
    LeftOutJobs claims_left_out = {}; // `until` then, claims are careful
    LeftOutJobs sweeps_left_out = {};
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
};

// What a prepared transaction did, until it is finished. See prepared_transactions.hpp.
constexpr int max_prepared_changes = 4;
constexpr uint32 prepared_bits = 1024;
struct PreparedNote {
    Oid database = InvalidOid; // InvalidOid: a free note
    char gid[GIDSIZE] = {};
    bool signals = false; // the scheduler
    int count = 0;
    Change changes[max_prepared_changes] = {};
    // A bit for each further queue, by its hash: anything may have happened there. Other queues
    // that have the bit are few unless the transaction wrote to hundreds.
    std::bitset<prepared_bits> further = {};
};

// What sessions ask of the launcher, until it takes the requests.
constexpr int max_start_requests = 64;
struct LauncherRequests {
    bool start_all = false;     // a scheduler in every database, which is how a launcher begins
    bool database_scan = false; // look whether there are databases that it does not know
    int count = 0;
    Oid databases[max_start_requests] = {}; // a scheduler in each of these
};

// What the launcher and the sessions have to say to each other.
struct LauncherState {
    uint64 generation = 0; // of the launcher: a scheduler of another one leaves
    Latch *latch = nullptr;
    LauncherRequests requests = {.start_all = true};
    bool no_worker_slot = false; // its last try to start a scheduler failed
    bool some_closed = false;    // its last scan of pg_database found some that are closed
    TimestampTz scanned = 0;     // when that was
};

// Where the records of queues are found.
constexpr int record_lists = 8192;  // by database and queue
constexpr int database_lists = 256; // by database
struct RecordTable {
    std::span<QueueRecord> first;
    std::span<QueueRecord> further; // empty: the address space was not to be had
    Size used = 0;                  // no record from here on was ever given to a queue
    RecordNumber free = 0;          // the first of those that were given back
    RecordNumber by_key[record_lists] = {};
    RecordNumber by_database[database_lists] = {};
};

// The numbers of the sessions that hold jobs. See session_leases.hpp.
struct LiveSessions {
    uint32 last = 0;           // 0: none yet
    std::span<uint32> numbers; // by process; 0: it has none
};

constexpr int max_owner_backoffs = 64;

struct SharedState {
    LWLock *lock = nullptr;
    LauncherState launcher = {};
    std::span<SchedulerSlot> schedulers = {};
    RecordTable records = {};
    std::span<PreparedNote> prepared = {};
    LiveSessions sessions = {};
    OwnerBackoff owner_backoffs[max_owner_backoffs] = {};
};

// Requests the shared memory and sets it up. Called once, while shared_preload_libraries are
// loaded.
void install_shared_state();

// Makes a state in this process's own memory, for a scheduler where the library is not preloaded.
void make_private_state();

// Returns the state; null where the library is not preloaded, except in such a scheduler.
SharedState *shared_state();

// Returns false for a private one: other sessions report nothing to it, so a scheduler that sleeps
// has to poll.
bool is_state_shared();

// Holds the lock of the shared state for a scope, in which nothing may raise: an ERROR is a longjmp
// and skips the destructor. (Should one come nevertheless, the transaction's abort releases the
// lock.)
class SharedLock {
public:
    explicit SharedLock(LWLockMode mode) {
        Assert(!LWLockHeldByMe(shared_state()->lock));
        LWLockAcquire(shared_state()->lock, mode);
    }
    ~SharedLock() { LWLockRelease(shared_state()->lock); }
    SharedLock(const SharedLock &) = delete;
    SharedLock &operator=(const SharedLock &) = delete;
};

// Holds a record's spinlock for a scope of a few assignments: who waits for it burns a processor.
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
