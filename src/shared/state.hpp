// The one piece of shared memory, and its lock: who schedules which database, who was told what,
// and what the sweeps of each queue came to.
//
// Everything is guarded by one LWLock, held for a look at small arrays and never while anything is
// waited for. What commits write into a queue's record is besides guarded by a spinlock of that
// record, so that they share the LWLock. A crash empties all of it; nothing here is the only place
// that knows a fact. Where the library is not preloaded there is no segment, and `segment()` is
// null; but a scheduler that was started by hand has one in its own memory, so that its code is the
// same.
//
// The records of queues come in two arrays. The first, of ecto_job.max_queues, is part of the
// segment. The second is address space that the postmaster maps at its start and that all its
// children inherit; the kernel gives it memory page by page, when a record is first used. So places
// come with the queues that need them, and taking one allocates nothing that could fail, nor is
// there a place that some process cannot reach, which callbacks at commit could not mend.
#pragma once

#include "core/fairness.hpp"
#include "core/key.hpp"
#include "pg/pg.hpp"

namespace ecto_job {

// A background worker that the launcher asked for, from then on until it has ended.
struct SchedulerSlot {
    Oid database; // InvalidOid: a free slot
    uint64 generation;
    int pid; // 0: not started yet, or ended
    Latch *latch;
    bool woken;     // look at everything again
    bool settled;   // found that it has work here
    bool outdated;  // and cannot do it: the extension's SQL is newer than the library
    bool dismissed; // asked to leave, by a session that needs the database
    bool left;      // ended because it has nothing to do: no reason to back off
    bool ended;     // for whatever reason; the launcher has not seen it yet
    bool died;      // in a queue's turn: that queue and its owner wait, and nobody else
    bool answers;   // sends at once what is rung; else sessions send their notifications themselves
    char unannounced[128];    // why notifications cannot be sent; empty: they can
    TimestampTz sleeps_until; // unless woken; DT_NOBEGIN: no time that comes is to wake it
};

// A key below which no job is AVAILABLE, so that claims start there. See low_water.hpp.
struct LowWater {
    bool known;
    JobKey key;
    TimestampTz checked; // when a look from the beginning last ended
    TimestampTz relied;  // since when claims relied on it nevertheless; 0: they have not
    TimestampTz looking; // when one began that has not ended; 0: none
    uint64 advance;      // the number of the advance under way, and
    TimestampTz advance_began;
    JobKey lowered_to; // the lowest key that was made AVAILABLE since it began
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

// What is known of a queue: what commits did to it, for the scheduler to take, and how its sweeps
// went, written by its database's scheduler alone.
struct QueueRecord {
    // What each round of a scheduler reads of all its queues comes first, in few cache lines
    Oid database; // InvalidOid: a free record
    Oid queue;
    RecordNumber next_of_key; // or of those that are free
    RecordNumber next_of_database;

    slock_t mutex;      // for these:
    bool rung;          // jobs became AVAILABLE: notify
    TimestampTz due;    // earliest schedule that a commit brought; DT_NOEND: none
    TimestampTz expiry; // the same of expires
    JobKey leased_to;   // commits brought leases of jobs up to here; lowest_key: none
    JobKey orphaned_to; // sessions have ended that had claimed up to here; lowest_key: none
    LowWater low_water;

    TimestampTz last_sweep;   // 0: none yet
    TimestampTz next_sweep;   // of everything; 0: at once
    int64 pause_ms;           // how long before next_sweep it was set
    TimestampTz next_due;     // earliest schedule that is waiting; DT_NOEND: none
    TimestampTz next_expiry;  // earliest end of a lease; DT_NOEND: none
    JobKey leases_to;         // no lease is above; lowest_key: none
    TimestampTz rests_until;  // no sweep before
    TimestampTz next_orphans; // when to give back the jobs of sessions that have ended
    JobKey orphans_to;        // up to here
    bool orphans_in_head;     // nobody knows where: first in the queue's head
    TimestampTz orphans_rest_until;
    int64 activated, expired, failed;
    int32 failures;         // in a row; 0 = it works
    int sqlstate;           // of the failure that was logged last
    bool locked;            // was skipped because of somebody's lock
    bool in_turn;           // still set at the next start: the scheduler died of it
    TimestampTz turn_began; // in_turn
    int64 batch_us;         // how long the last batch took, and
    int64 batch_jobs;       // how many jobs it moved
    char error[256];

    LeftOutJobs claims_left_out; // `until` then, claims are careful
    LeftOutJobs sweeps_left_out;
};

// How often turns of this owner's queues have ended the scheduler. See owner_deaths.hpp.
struct OwnerDeaths {
    Oid database;
    Oid owner;
    Deaths deaths;
};

// What a transaction did to a queue.
struct Change {
    Oid queue = InvalidOid;
    bool available = false;     // a job became AVAILABLE: ring
    bool lowers = false;        // `lowest` is one
    JobKey lowest = {};         // of the jobs that are AVAILABLE and were not, or stood elsewhere
    TimestampTz due = DT_NOEND; // earliest schedule of a SCHEDULED or RETRY job
    TimestampTz expiry = DT_NOEND; // earliest expires of a RESERVED or IN_PROGRESS one
    JobKey leased_to = lowest_key; // the highest of those
};

// What a prepared transaction did, until it is finished. See prepared_transactions.hpp.
constexpr int max_prepared_changes = 4;
struct PreparedNote {
    Oid database; // InvalidOid: a free note
    char gid[GIDSIZE];
    bool wakes;    // the scheduler
    bool overflow; // more queues than fit
    int count;
    Change changes[max_prepared_changes];
};

constexpr int record_lists = 8192;  // by database and queue
constexpr int database_lists = 256; // by database
constexpr int max_told = 64;
constexpr int max_owner_deaths = 64;

struct Segment {
    LWLock *lock;
    uint64 generation; // of the launcher: a scheduler of another one leaves
    Latch *launcher;
    bool told_all;     // look at every database
    bool look_for_new; // look whether there are databases that the launcher does not know
    int told_count;
    Oid told[max_told];
    bool no_worker_slot; // the launcher's last try failed
    bool some_closed;    // the launcher's last look at pg_database found some that are closed
    TimestampTz looked;  // when that was
    OwnerDeaths owner_deaths[max_owner_deaths];
    int scheduler_count;
    SchedulerSlot *schedulers;
    int record_count;
    QueueRecord *records;
    int further_count; // 0: the address space was not to be had
    QueueRecord *further_records;
    int records_used; // no record from here on was ever given to a queue
    RecordNumber free_record;
    RecordNumber by_key[record_lists];
    RecordNumber by_database[database_lists];
    int prepared_count;
    PreparedNote *prepared;
    uint32 last_session; // 0: none yet
    int session_count;
    uint32 *sessions; // the number of each process that has one; 0: none
};

// Called once, while shared_preload_libraries are loaded.
void install_segment();

// By a scheduler where the library is not preloaded: nobody else sees it.
void make_private_segment();

Segment *segment();
// False: other sessions ring no bell here, so who sleeps has to look at intervals.
bool is_segment_shared();

// Holds the lock of the shared state for a scope, in which nothing may raise: an ERROR is a longjmp
// and skips the destructor. (Should one come nevertheless, the transaction's abort releases the
// lock.)
class SharedLock {
public:
    explicit SharedLock(LWLockMode mode) { LWLockAcquire(segment()->lock, mode); }
    ~SharedLock() { LWLockRelease(segment()->lock); }
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

inline void lock_segment(LWLockMode mode) {
    LWLockAcquire(segment()->lock, mode);
}
inline void unlock_segment() {
    LWLockRelease(segment()->lock);
}
inline void assert_locked() {
    Assert(LWLockHeldByMe(segment()->lock));
}
inline void assert_locked_exclusively() {
    Assert(LWLockHeldByMeInMode(segment()->lock, LW_EXCLUSIVE));
}

} // namespace ecto_job
