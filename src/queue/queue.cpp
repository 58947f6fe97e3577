// The session's cache of queues. See queue.hpp.
//
// An invalidation may come while a statement of this very queue is running (a trigger of the user
// that renames something, a first plan that takes a lock), so an outdated queue is only marked; the
// next look-up makes a new one, and the old one with its plans is freed when the transaction ends.
#include "queue/queue.hpp"

#include "core/times.hpp"
#include "queue/registry.hpp"

namespace ecto_job {

namespace {

struct Entry {
    Oid oid; // the hash table's key
    bool valid;
    Queue *queue; // in a memory context of its own
};

HTAB *entries = nullptr;
List *retired = NIL; // queues replaced in this transaction
MemoryContext cache_context = nullptr;

void invalidate_all() {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, entries);
    while (auto *entry = static_cast<Entry *>(hash_seq_search(&scan)))
        entry->valid = false;
}

void on_relcache_change(Datum, Oid relation) {
    if (relation == InvalidOid) {
        invalidate_all();
        return;
    }
    if (auto *entry = static_cast<Entry *>(hash_search(entries, &relation, HASH_FIND, nullptr)))
        entry->valid = false;
}

// A renamed schema says nothing to the tables in it
void on_namespace_change(Datum, int, uint32) {
    invalidate_all();
}

void free_retired(XactEvent event, void *) {
    if (retired == NIL ||
        (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
        return;
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

void prepare_cache() {
    if (entries != nullptr)
        return;
    cache_context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job queues", ALLOCSET_DEFAULT_SIZES);
    HASHCTL control{};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(Entry);
    control.hcxt = cache_context;
    entries = hash_create("ecto_job queues", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    CacheRegisterRelcacheCallback(on_relcache_change, 0);
    CacheRegisterSyscacheCallback(NAMESPACEOID, on_namespace_change, 0);
    RegisterXactCallback(free_retired, nullptr);
}

void retire(Queue *queue) {
    MemoryContext const before = MemoryContextSwitchTo(cache_context);
    retired = lappend(retired, queue);
    MemoryContextSwitchTo(before);
}

} // namespace

Queue *find_queue(Oid oid) {
    prepare_cache();
    bool found;
    auto *entry = static_cast<Entry *>(hash_search(entries, &oid, HASH_ENTER, &found));
    if (!found)
        entry->queue = nullptr;
    else if (entry->valid && entry->queue != nullptr)
        return entry->queue;

    if (entry->queue != nullptr) {
        retire(entry->queue);
        entry->queue = nullptr; // and nothing is found if the reading fails
    }
    // Before reading: a change that is told meanwhile makes this entry invalid again
    entry->valid = true;
    Queue read{};
    read_registry(oid, &read);
    auto *queue = static_cast<Queue *>(MemoryContextAlloc(cache_context, sizeof(Queue)));
    *queue = read;
    entry->queue = queue;
    return queue;
}

void forget_queues() {
    if (entries != nullptr)
        invalidate_all();
}

const char *qualified_name(const Queue *queue) {
    return quote_qualified_identifier(NameStr(queue->schema), NameStr(queue->table));
}

} // namespace ecto_job
