// Queues, and their records in shared memory. See watched_queues.hpp.
#include "scheduler/watched_queues.hpp"

#include "pg/names.hpp"
#include "scheduler/failure_reports.hpp"
#include "server_settings.hpp"
#include "shared/queue_records.hpp"

namespace ecto_job {

int64 full_interval_ms(const WatchedQueue *queue) {
    return queue->has_shared_record ? settings::safety_interval_ms : queue->poll_interval_ms;
}

void set_name(WatchedQueue *queue, const char *name) {
    if (strcmp(queue->name, name) == 0)
        return;
    char *const before = queue->name;
    queue->name = MemoryContextStrdup(GetMemoryChunkContext(before), name);
    pfree(before);
}

void WatchedQueues::create() {
    context_ =
        AllocSetContextCreate(TopMemoryContext, "ecto_job watched queues", ALLOCSET_DEFAULT_SIZES);
    queues_.create("ecto_job queues", context_);
}

QueueRecord *WatchedQueues::make_own_record() {
    auto *const record =
        static_cast<QueueRecord *>(MemoryContextAllocZero(context_, sizeof(QueueRecord)));
    SpinLockInit(&record->mutex);
    clear_record(record);
    return record;
}

void WatchedQueues::watch(const RegisteredQueue &listed) {
    if (WatchedQueue *const known = queues_.find(listed.oid)) {
        known->is_listed = true;
        known->owner = listed.owner;
        return;
    }
    const char *const table = table_name_or_null(listed.oid);
    const char *const schema = schema_name_or_null(get_rel_namespace(listed.oid));
    const char *const name =
        table != nullptr && schema != nullptr ? quote_qualified_identifier(schema, table) : "gone";
    WatchedQueue fresh;
    fresh.oid = listed.oid;
    fresh.owner = listed.owner;
    fresh.is_listed = true;
    fresh.name = MemoryContextStrdup(context_, name);
    fresh.record = make_own_record();
    *queues_.insert(listed.oid) = fresh;
}

// Forgets unlisted queues, and releases their records and those of queues that were dropped while
// no scheduler ran.
void WatchedQueues::forget_unlisted() {
    queues_.for_each([this](WatchedQueue *queue) {
        if (queue->is_listed)
            return;
        if (!queue->has_shared_record)
            pfree(queue->record);
        pfree(queue->name);
        queues_.erase(queue->oid);
    });
    release_unlisted_records([this](Oid queue) { return queues_.find(queue) != nullptr; });
}

void WatchedQueues::warn_of_max_queues() {
    if (!warned_of_max_queues_)
        ereport(WARNING,
                (errmsg("more queues than places in shared memory"),
                 errdetail("Queues without a place work, too, but sessions notify by "
                           "themselves, what is due is found by poll_interval, and no status is "
                           "shown."),
                 errhint("All %d places are taken. Raise ecto_job.max_queues, now %d, and restart "
                         "the server.",
                         static_cast<int>(max_records()), settings::max_queues)));
    warned_of_max_queues_ = true;
}

// Gives the queue a record in shared memory. A former scheduler may have given the queue that
// record, and left the queue's health there. Returns false if all records are in use.
bool WatchedQueues::assign_record(WatchedQueue *queue) {
    QueueRecord *const shared = make_record(queue->oid);
    if (shared == nullptr)
        return false;
    if (shared->health.failures > 0) {
        queue->agenda.resume(shared->health.failures, shared->health.last_sweep);
    } else if (queue->agenda.is_failing()) {
        const SharedLock lock(LW_EXCLUSIVE);
        shared->health = queue->record->health;
    }
    pfree(queue->record);
    queue->record = shared;
    queue->has_shared_record = true;
    queue->agenda.request_full_sweep(); // earlier commits have reported nothing
    if (shared->health.in_sweep)
        record_death(queue);
    return true;
}

// Gives each queue without a record in shared memory a free one, for as long as there are any.
void WatchedQueues::assign_records() {
    bool all_taken = !is_state_shared();
    queues_.for_each([&](WatchedQueue *queue) {
        if (queue->has_shared_record || all_taken)
            return;
        all_taken = !assign_record(queue);
        if (all_taken)
            warn_of_max_queues();
    });
}

void WatchedQueues::update(const RegisteredQueues &listed) {
    queues_.for_each([](WatchedQueue *queue) { queue->is_listed = false; });
    for (uint64 i = 0; i < listed.count; i++)
        watch(listed.queues[i]);
    forget_unlisted();
    assign_records();
}

void WatchedQueues::make_unreported_due() {
    queues_.for_each([](WatchedQueue *queue) {
        if (!queue->has_shared_record)
            queue->agenda.request_full_sweep();
    });
}

} // namespace ecto_job
