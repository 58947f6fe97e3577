// The one piece of shared memory, and its lock: who schedules which database, who was told what,
// and what the sweeps of each queue came to.
//
// Everything is guarded by one LWLock, held for a look at small arrays and never while anything is
// waited for. A crash empties all of it; nothing here is the only place that knows a fact. Where
// the library is not preloaded there is no segment, and `segment()` is null; but a scheduler that
// was started by hand has one in its own memory, so that its code is the same.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// A background worker that the launcher asked for, from then on until it has ended.
struct SchedulerSlot {
    Oid database; // InvalidOid: a free slot
    uint64 generation;
    int pid; // 0: not started yet, or ended
    Latch *latch;
    bool woken;    // look at everything again
    bool settled;  // found that it has work here
    bool outdated; // and cannot do it: the extension's SQL is newer than the library
    bool left;     // ended because it has nothing to do: no reason to back off
};

// A session that needs a database without connections, for the time of its transaction.
struct AsideEntry {
    Oid database; // InvalidOid: a free entry
    int pid;
};

// How the sweeps of a queue went. Written by its database's scheduler alone.
struct QueueRecord {
    Oid database; // InvalidOid: a free record
    Oid queue;
    TimestampTz last_sweep; // 0: none yet
    TimestampTz next_sweep; // 0: at once
    int64 pause_ms;         // how long before next_sweep it was set
    int64 activated, expired, failed;
    TimestampTz next_due; // earliest schedule that the last sweep left waiting; 0: none
    int32 failures;       // in a row; 0 = it works
    int sqlstate;         // of the failure that was logged last
    bool locked;          // was skipped because of somebody's lock
    bool in_turn;         // still set at the next start: the scheduler died of it
    char error[256];
};

constexpr int max_told = 64;
constexpr int max_asides = 32;

struct Segment {
    LWLock *lock;
    uint64 generation; // of the launcher: a scheduler of another one leaves
    Latch *launcher;
    bool told_all; // look at every database
    int told_count;
    Oid told[max_told];
    bool wake_prepared;  // a prepared transaction has asked for a wake-up
    bool no_worker_slot; // the launcher's last try failed
    AsideEntry asides[max_asides];
    int scheduler_count;
    SchedulerSlot *schedulers;
    int record_count;
    QueueRecord *records;
};

// Called once, while shared_preload_libraries are loaded.
void install_segment();

// By a scheduler where the library is not preloaded: nobody else sees it.
void make_private_segment();

Segment *segment();
// False: other sessions ring no bell here, so who sleeps has to look at intervals.
bool is_segment_shared();

inline void lock_segment(LWLockMode mode) {
    LWLockAcquire(segment()->lock, mode);
}
inline void unlock_segment() {
    LWLockRelease(segment()->lock);
}

} // namespace ecto_job
