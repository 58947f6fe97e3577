// NOTIFY on a queue's channels, in the transaction that makes the notice true.
#pragma once

#include "core/channel.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Nothing for a null payload (the job asked for no notice), and nothing but a WARNING, once a
// session, for a table that was renamed to a name too long for its channels.
void send_notice(Oid table_oid, const char *table, Notice notice, const char *payload);

inline void send_notice(const Queue *queue, Notice notice, const char *payload) {
    send_notice(queue->oid, NameStr(queue->table), notice, payload);
}

} // namespace ecto_job
