// NOTIFY on a queue's channels. Jobs that a commit makes AVAILABLE are announced by the scheduler
// if it serves the queue, else by the session. Other notices are sent in the transaction that
// changes the job. But a sweep of the scheduler keeps its notices until it has committed, since a
// commit that notifies waits for a lock of the whole cluster.
#pragma once

#include "core/channel.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Sends a notice. Does nothing for a null payload (the job asked for no notice), and raises only a
// WARNING if the payload is too long for NOTIFY, or the table's new name too long for its channels.
void send_notice(Oid table_oid, const char *table, Notice notice, const char *payload);

inline void send_notice(const Queue *queue, Notice notice, const char *payload) {
    send_notice(queue->oid, NameStr(queue->table), notice, payload);
}

// Sends NOTIFY for jobs that have become AVAILABLE, unless the queue's table is gone.
void notify_available(Oid queue);

// Sends that NOTIFY unless a scheduler is serving the queue, which then announces the jobs. Returns
// whether this transaction sends NOTIFY.
bool notify_unless_served(Oid queue);

struct KeptNotice {
    Oid queue;
    Notice notice;
    KeptNotice *next;
    char payload[FLEXIBLE_ARRAY_MEMBER];
};

// Makes send_notice() keep notices in this process from now on. Called once, by a scheduler. At
// most a megabyte is kept; further notices are lost, with a WARNING.
void keep_notices();

// Decides on the notices since the last call: if their transaction has committed, they are to be
// sent; else they are forgotten.
void settle_notices(bool committed);

// Returns the notices of committed transactions, which stay kept until they are forgotten.
const KeptNotice *kept_notices();
void forget_kept_notices();

// Sends a notice in this transaction, also in a process that keeps notices.
void send_notice_now(Oid table_oid, const char *table, Notice notice, const char *payload);

} // namespace ecto_job
