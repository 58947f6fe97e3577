// The queues of a database, as its scheduler knows them.
#pragma once

#include "core/agenda.hpp"
#include "core/batch_size.hpp"
#include "pg/oid_map.hpp"
#include "pg/pg.hpp"
#include "queue/registry.hpp"
#include "queue/retention.hpp"
#include "shared/state.hpp"

namespace ecto_job {

struct WatchedQueue {
    Oid oid = InvalidOid;
    Oid owner = InvalidOid;
    bool is_listed = false;         // in the registry when it was last read
    bool has_shared_record = false; // so that commits report what they do
    Agenda agenda;
    BatchSize batch_size;
    int64 poll_interval_ms = 1000;      // the queue's setting, once a batch has read it
    TimestampTz isolate_rows_until = 0; // since a row was at fault: rows_at_fault.hpp
    PurgePass purge_pass;
    // In shared memory; in this process's memory without preload, and while all places are taken
    QueueRecord *record = nullptr;
    char *name = nullptr; // schema and table, quoted
};

// Returns the time between full sweeps, which is short if the queue has no record in shared memory:
// then commits report nothing, and only a full sweep finds what they did.
int64 full_interval_ms(const WatchedQueue *queue);

// Sets the name, which ALTER TABLE ... RENAME may have changed.
void set_name(WatchedQueue *queue, const char *name);

class WatchedQueues {
public:
    void create();

    // Adds queues that the registry lists, and forgets queues that the registry does not list, with
    // their records in shared memory. In a transaction.
    void update(const RegisteredQueues &listed);

    // Makes a full sweep due of each queue without a record in shared memory. Commits report
    // nothing of such a queue, and its settings, which a batch reads, may be new.
    void make_unreported_due();

    template <typename F> void for_each(F visit) const { queues_.for_each(visit); }
    bool is_empty() const { return queues_.size() == 0; }

private:
    void watch(const RegisteredQueue &listed);
    void forget_unlisted();
    void assign_records();
    bool assign_record(WatchedQueue *queue);
    QueueRecord *make_own_record();
    void warn_of_max_queues();

    OidMap<WatchedQueue> queues_;
    MemoryContext context_ = nullptr;
    bool warned_of_max_queues_ = false;
};

} // namespace ecto_job
