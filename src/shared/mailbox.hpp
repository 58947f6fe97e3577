// The mailbox of each queue: commits report there what they did, so that the scheduler, and not
// they, sends the notification, and sweeps when the next job is due.
//
// NOTIFY takes one lock for the whole cluster at commit, for as long as the commit's flush lasts. A
// report sets a flag instead. That is enough only while a scheduler serves: a session asks before
// its commit, and sends its notifications itself if none does. A scheduler that ends in between
// leaves the flag, and the next one finds it.
//
// Commits hold the lock of the shared state shared and the record's spinlock; the scheduler, before
// it sleeps, holds the first exclusively: so it either sees a report or is woken by it.
#pragma once

#include "shared/state.hpp"

namespace ecto_job {

// By sessions:

// Returns, before a commit, whether a scheduler will send this queue's notifications at once.
bool is_served(Oid queue);

// Adds a report to another one.
void merge(Report *into, const Report &more);

// Reports what a commit or the end of a session did, after it. Cannot fail.
void report(const Change &change);

// Reports that anything may have happened in the queues that a prepared transaction may have
// changed besides its note's changes; null: in every queue of this database, since there is no
// note.
void report_anything(const PreparedNote *note);

// By the scheduler:

// Says whether sessions may leave their notifications to the scheduler in this slot.
void serve(int slot, bool serves);

// Returns the oids of queues to be announced, at most `size`, and clears their flags. `from` is
// where the walk over the database's records goes on: 0, at the beginning and after the end.
int take_announcements(Oid *queues, int size, RecordNumber *from);
// Puts back what could not be announced.
void put_back_announcements(const Oid *queues, int count);
// Returns whether any queue is to be announced. Called under the lock of the shared state.
bool has_announcements();

// Takes what was reported of a queue since the last call. What is due stays in the queue's health.
Report take_report(QueueRecord *record);

// Says, for the queues' status, why notifications cannot be sent; null: they can.
void show_unannounced(int slot, const char *why);

// What ends the scheduler's sleep before its time, besides a request to look again or to leave.
enum class WakeOn : uint8_t {
    everything,    // reports of jobs to announce, of earlier times, of ended sessions
    times,         // not announcements: notifying fails
    announcements, // not times: it does not sweep
    requests,      // neither
};

// Returns until when to sleep, at most until `limit`; DT_NOBEGIN: not at all. From then on, until
// end_sleep(), reports wake the scheduler.
TimestampTz begin_sleep(int slot, TimestampTz limit, WakeOn wake_on);
void end_sleep(int slot);

} // namespace ecto_job
