// NOTIFY on a queue's channels. Jobs that a commit makes AVAILABLE are announced by the scheduler
// if it serves the queue, else by the session. Other notifications are sent in the transaction that
// changes the job. But a sweep of the scheduler keeps its notifications until it has committed,
// since a commit that notifies waits for a lock of the whole cluster.
#pragma once

#include "core/channel.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Sends a notification. Does nothing for a null payload (the job asked for no notification), and
// raises only a WARNING if the payload is too long for NOTIFY, or the table's new name too long for
// its channels.
void send_notification(Oid table_oid, const char *table, Notification notification,
                       const char *payload);

inline void send_notification(const Queue *queue, Notification notification, const char *payload) {
    send_notification(queue->oid, NameStr(queue->table), notification, payload);
}

// Sends NOTIFY for jobs that have become AVAILABLE, unless the queue's table is gone.
void notify_available(Oid queue);

// Sends NOTIFY for jobs that have become AVAILABLE, unless a scheduler is serving the queue, which
// then announces the jobs. Returns whether this transaction sends NOTIFY.
bool notify_unless_served(Oid queue);

struct KeptNotification {
    Oid queue;
    Notification notification;
    KeptNotification *next;
    char payload[FLEXIBLE_ARRAY_MEMBER];
};

// Makes send_notification() keep notifications in this process from now on. Called once, by a
// scheduler. At most a megabyte is kept; further notifications are lost, with a WARNING.
void keep_notifications();

// Decides on the notifications since the last call: if their transaction has committed, they are to
// be sent; else they are forgotten.
void settle_notifications(bool committed);

// Returns the notifications of committed transactions, which stay kept until they are forgotten.
const KeptNotification *kept_notifications();
void forget_kept_notifications();

// Sends a notification in this transaction, also in a process that keeps notifications.
void send_notification_now(Oid table_oid, const char *table, Notification notification,
                           const char *payload);

} // namespace ecto_job
