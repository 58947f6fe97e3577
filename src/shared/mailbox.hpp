// The mailbox of each queue: commits report there what they did, so that the scheduler sends the
// notification in their place, and sweeps when the next job is due.
//
// NOTIFY takes one lock for the whole cluster at commit, for as long as the commit's flush lasts. A
// report sets a flag instead. A flag is enough only while a scheduler is serving, so a session
// checks before its commit, and sends its notifications itself if no scheduler is serving. A
// scheduler that ends after that check leaves the flag to the next one.
//
// Commits hold the lock of the shared state in shared mode and the record's spinlock. Before it
// sleeps, the scheduler holds the first lock exclusively: so it either sees a report or is woken by
// the report.
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
// changed besides the changes in its note. Null, where no note was found: in every queue of this
// database.
void report_unknown_changes(const PreparedNote *note);

// By the scheduler:

// Sets whether the scheduler in the slot sends the notifications of sessions.
void serve(int slot, bool serves);

// Writes the OIDs of queues to be announced, at most `size`, clears their flags, and returns their
// number. `from` is the record at which the next call continues; 0: at the first record.
int take_announcements(Oid *queues, int size, RecordNumber *from);
// Sets the flags of queues that could not be announced.
void put_back_announcements(const Oid *queues, int count);
// Returns whether any queue is to be announced. Called under the lock of the shared state.
bool has_announcements();

// Takes what was reported of a queue since the last call. The earliest due time stays in the
// record's health.
Report take_report(QueueRecord *record);

// Sets why notifications cannot be sent, for the status of the queues; null: they can.
void show_unannounced(int slot, const char *why);

// Which reports end the scheduler's sleep. New announcements, ended sessions and requests set its
// latch in any case; this says what begin_sleep() looks at.
enum class WakeOn : uint8_t {
    everything,    // reports of jobs to announce, of earlier times, of ended sessions
    times,         // not announcements: notifying fails
    announcements, // not times: it does not sweep
    requests,      // neither announcements nor times
};

// Returns until when to sleep, at most until `limit`; DT_NOBEGIN: not at all. Reports wake the
// scheduler from this call until end_sleep().
TimestampTz begin_sleep(int slot, TimestampTz limit, WakeOn wake_on);
void end_sleep(int slot);

} // namespace ecto_job
