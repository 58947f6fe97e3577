// One queue's turn: a batch of its sweep, as its owner, in a transaction of bounded size.
//
// In each transaction, in this order: the extension's lock and a second look at it, the table's
// lock if nobody holds it against us, the checks of what kind of table it is, the registry, the
// change to the owner, the sweeps under a time limit, back to ourselves. When there is
// no more to move, a look ahead says when the next job is due and the next lease ends.
#pragma once

#include "core/fairness.hpp"
#include "pg/pg.hpp"
#include "shared/state.hpp"

namespace ecto_job {

// What this process knows of a queue. The first member is the key of its hash table.
struct Watched {
    Oid queue;
    Oid owner;
    bool listed;  // in the registry at the last look
    bool is_told; // by commits: its record is in shared memory
    BatchSize batch;
    int64 turn_us; // used by the batches of a turn that is not finished
    int64 poll_interval_ms;
    int64 stuck_due_ms;    // the last pause because due jobs were locked; 0: none
    int64 stuck_expiry_ms; // the same for those whose lease has ended
    int64 stuck_orphans_ms;
    int64 locked_ms;           // and for the table
    TimestampTz careful_until; // a row was at fault: see rows_at_fault.hpp
    QueueRecord *record;       // in shared memory, or while all places are taken in this process
    char *name;
};

// What there is to do; `orphans` are the jobs of sessions that have ended, and `everything` also
// notifies of AVAILABLE jobs that nobody has told of.
struct Due {
    bool activate, expire, orphans, everything;
};
Due due_at(const QueueRecord *record, TimestampTz now);

// When there will be something.
TimestampTz next_turn(const QueueRecord *record);

// How long until everything is swept again. Only what commits tell makes the long interval safe,
// and those of a queue without a place in shared memory tell nothing.
int64 full_interval_ms(const Watched *watched);

enum class TurnEnd {
    done,
    interrupted, // by the drop of the extension, or a dismissal: look at everything again
    spoilt,      // the queue's code has left too much in this session: it is to be replaced
};

// Moves one batch at most, and looks ahead if there is no more to move; what is left makes the
// queue due again. `slot` is looked at between transactions: a dismissed scheduler does not begin
// another.
TurnEnd take_turn(Watched *watched, Oid extension, int slot, Due due);

// The owner of the queue that has its turn, or in whose turn the session was spoilt; else
// InvalidOid.
Oid owner_in_turn();

// The scheduler died in this queue's turn before: it waits like after a failure.
void note_death(Watched *watched);

// Is the extension there, the same one, and not being dropped? Locks it until the transaction ends.
bool lock_extension(Oid extension);

} // namespace ecto_job
