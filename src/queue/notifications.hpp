// NOTIFY on a queue's channels, in the transaction that makes the notice true; but the scheduler's
// sweeps keep their notices until they are committed, since a commit that notifies waits for a lock
// of the whole cluster.
#pragma once

#include "core/channel.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Nothing for a null payload (the job asked for no notice), and nothing but a WARNING for a payload
// that is too long for NOTIFY, or a table that was renamed to a name too long for its channels.
void send_notice(Oid table_oid, const char *table, Notice notice, const char *payload);

inline void send_notice(const Queue *queue, Notice notice, const char *payload) {
    send_notice(queue->oid, NameStr(queue->table), notice, payload);
}

struct KeptNotice {
    Oid queue;
    Notice notice;
    KeptNotice *next;
    char payload[FLEXIBLE_ARRAY_MEMBER];
};

// From now on send_notice() keeps notices in this process; once, by a scheduler. Kept is no more
// than a megabyte: what is beyond is lost, with a WARNING.
void keep_notices();

// Ends the transaction of the notices that were kept last: they are to be sent, or never were.
void settle_notices(bool committed);

// Those to be sent, of committed transactions; they stay kept until forgotten.
const KeptNotice *kept_notices();
void forget_kept_notices();

// Sends it in this transaction, also in a process that keeps notices.
void send_notice_now(Oid table_oid, const char *table, Notice notice, const char *payload);

} // namespace ecto_job
