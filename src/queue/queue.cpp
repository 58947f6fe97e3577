// The session's cache of queues. See queue.hpp.
//
// An invalidation may come while a statement of this very queue is running (a trigger of the user
// that renames something, a first plan that takes a lock). So an outdated queue is only marked. The
// next find_queue() makes a new one, and the outdated queue with its plans is freed when the
// transaction ends. If there are many queues, the one that was used longest ago is freed in the
// same way, since a queue's plans take some 100 kB.
#include "queue/queue.hpp"

#include "core/times.hpp"
#include "pg/oid_map.hpp"
#include "queue/queue_settings.hpp"

namespace ecto_job {

namespace {

struct Entry {
    Oid oid = InvalidOid;
    bool valid = false; // no invalidation has come since the queue was read, or is being read
    uint64 last_use = 0;
    Queue *queue = nullptr; // null: reading the queue failed
};

constexpr long most_queues = 100;

OidMap<Entry> entries;
List *retired = NIL; // queues that were replaced in this transaction
MemoryContext cache_context = nullptr;
uint64 uses = 0;
uint64 freed = 0;

void invalidate_all() {
    entries.for_each([](Entry *entry) { entry->valid = false; });
}

void on_relcache_change(Datum, Oid relation) {
    if (relation == InvalidOid)
        invalidate_all();
    else if (Entry *const entry = entries.find(relation))
        entry->valid = false;
}

// A renamed schema sends no invalidation of the tables in it
void on_namespace_change(Datum, int, uint32) {
    invalidate_all();
}

void prepare_cache() {
    if (entries.exists())
        return;
    cache_context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job queues", ALLOCSET_DEFAULT_SIZES);
    entries.create("ecto_job queues", cache_context, 16);
    CacheRegisterRelcacheCallback(on_relcache_change, 0);
    CacheRegisterSyscacheCallback(NAMESPACEOID, on_namespace_change, 0);
}

void retire(Entry *entry) {
    if (entry->queue == nullptr)
        return;
    MemoryContext const before = MemoryContextSwitchTo(cache_context);
    retired = lappend(retired, entry->queue);
    MemoryContextSwitchTo(before);
    entry->queue = nullptr;
}

void remove(Entry *entry) {
    retire(entry);
    entries.erase(entry->oid);
    freed++;
}

void remove_least_recently_used() {
    Entry *least = nullptr;
    entries.for_each([&](Entry *entry) {
        if (least == nullptr || entry->last_use < least->last_use)
            least = entry;
    });
    if (least != nullptr)
        remove(least);
}

} // namespace

Queue *find_queue(Oid oid) {
    Assert(IsTransactionState());
    prepare_cache();
    Entry *entry = entries.find(oid);
    if (entry == nullptr && entries.size() >= most_queues)
        remove_least_recently_used();
    if (entry == nullptr)
        entry = entries.insert(oid);
    entry->last_use = ++uses;
    if (entry->valid && entry->queue != nullptr)
        return entry->queue;
    retire(entry);
    entry->valid = true; // an invalidation during the reading makes this false
    Queue read{};
    read_settings(oid, &read);
    entry->queue = static_cast<Queue *>(MemoryContextAlloc(cache_context, sizeof(Queue)));
    *entry->queue = read;
    return entry->queue;
}

void free_retired_queues() {
    List *queues = retired;
    retired = NIL;
    ListCell *cell;
    foreach (cell, queues) {
        auto *queue = static_cast<Queue *>(lfirst(cell));
        for (SPIPlanPtr plan : queue->plans)
            if (plan != nullptr)
                SPI_freeplan(plan);
        pfree(queue);
    }
    list_free(queues);
}

void free_queue(Oid oid) {
    Assert(!IsTransactionState());
    Entry *const entry = entries.exists() ? entries.find(oid) : nullptr;
    if (entry == nullptr)
        return;
    remove(entry);
    free_retired_queues();
}

uint64 freed_queues() {
    return freed;
}

void outdate_queue(Oid oid) {
    if (Entry *const entry = entries.find(oid))
        entry->valid = false;
}

void outdate_queues() {
    if (entries.exists())
        invalidate_all();
}

const char *qualified_name(const Queue *queue) {
    return quote_qualified_identifier(NameStr(queue->schema), NameStr(queue->table));
}

} // namespace ecto_job
