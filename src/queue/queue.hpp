// A registered queue: its table's present name, its settings, its saved plans.
//
// A session reads a queue once from ecto_job.queue_settings and keeps it until PostgreSQL reports a
// change of the table, its schema or its row of the registry, or a hundred other queues have been
// used since. No lock is taken here: the statements that run later lock the table by name, and
// plans.cpp checks that the name still means this table.
#pragma once

#include <array>

#include "pg/pg.hpp"
#include "queue/queue_options.hpp"
#include "queue/statements.hpp"
#include "table/read_layout.hpp"

namespace ecto_job {

// Who made the table, and who works on it
enum class QueueKind {
    native,  // create_queue
    ectojob, // create_queue(ectojob => true): EctoJob's library works on it, too
    adopted  // EctoJob's migration; the library works on it
};
// As the registry names the kinds
inline constexpr const char *queue_kind_names[] = {"native", "ectojob", "adopted"};

struct Queue {
    Oid oid;
    NameData schema;
    NameData table;
    NameData updated_at;  // empty: the table has no such column
    NameData inserted_at; // empty: the table has no such column
    QueueKind kind;
    bool binary; // params are bytea
    TableLayout layout;
    int64 poll_interval_ms;
    int64 reservation_timeout_ms;
    int64 execution_timeout_ms;
    int64 retry_timeout_ms;
    int32 max_attempts;
    QueueOptions options;
    bool paused; // as far as this session knows: see is_paused() in queue/queue_settings.hpp

    int searches_since_advance; // of this session: see claim_start.cpp
    // This session has claimed, and no claim of any session has met a row at fault lately: the next
    // claim need not isolate rows
    bool claims_run_directly;

    std::array<SPIPlanPtr, statement_count> plans;
};

// Returns the queue with this oid. SPI is connected. ERROR 42P01: no such table; 42809: not a
// queue.
Queue *find_queue(Oid oid);

// Frees the queue and its plans, which are made anew when they are needed. Outside of a
// transaction.
void free_queue(Oid oid);

// Returns how many queues were freed in this process: by free_queue(), or since the process had
// more of them than it keeps.
uint64 freed_queues();

// Makes the next find_queue() read the queue anew.
void outdate_queue(Oid oid);

// Makes each queue be read anew at its next use.
void outdate_queues();

// For the end of the transaction: see transaction_end.cpp. Cannot fail.
void free_retired_queues();

// Returns "schema.table", quoted where needed; in the caller's memory context.
const char *qualified_name(const Queue *queue);

} // namespace ecto_job
