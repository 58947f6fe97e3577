// A registered queue: its table's present name, its settings, its saved plans.
//
// Read once per session from ecto_job.queue_settings and kept until PostgreSQL says that the table,
// its schema or its registry row has changed, or a hundred others were used since. The registry is
// looked up here and nowhere else. No lock of ours: the statements that run later lock the table by
// its name, and plans.cpp checks that the name still means this table.
#pragma once

#include <array>

#include "pg/pg.hpp"
#include "table/layout.hpp"
#include "queue/statements.hpp"

namespace ecto_job {

// Who made the table, and who works on it
enum class QueueKind {
    native,  // create_queue
    ectojob, // create_queue(ectojob => true): EctoJob's library works on it, too
    adopted  // EctoJob's migration; the library works on it
};

struct Queue {
    Oid oid;
    NameData schema;
    NameData table;
    NameData updated_at;  // empty: the table has no such column
    NameData inserted_at; // the same
    QueueKind kind;
    bool binary; // params are bytea
    TableLayout layout;
    int64 poll_interval_ms;
    int64 reservation_timeout_ms;
    int64 execution_timeout_ms;
    int64 retry_timeout_ms;
    int32 max_attempts;

    int claims_since_scan; // of this session: see claims.cpp
    bool claims_succeed;   // one of this session has, so the next need not be careful

    std::array<SPIPlanPtr, statement_count> plans;
};

// Returns the queue with this oid. SPI is connected. ERROR 42P01: no such table; 42809: not a
// queue.
Queue *find_queue(Oid oid);

// Frees the queue and its plans, which are made anew when they are needed. Outside of a
// transaction.
void free_queue(Oid oid);

// Returns how many queues were freed in this process, by free_queue() or since there were many.
uint64 freed_queues();

// Has the queue and its plans made anew at the next look-up.
void outdate_queue(Oid oid);

// Forgets all registered queues: the extension was made anew.
void forget_queues();

// For the end of the transaction: see transaction.cpp. Cannot fail.
void free_retired_queues();

// Returns "schema.table", quoted where needed; in the caller's memory context.
const char *qualified_name(const Queue *queue);

} // namespace ecto_job
