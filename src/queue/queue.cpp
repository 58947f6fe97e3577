// The session's cache of queues. See queue.hpp.
//
// An invalidation may come while a statement of this very queue is running (a trigger of the user
// that renames something, a first plan that takes a lock), so an outdated queue is only marked; the
// next look-up makes a new one, and the old one with its plans is freed when the transaction ends.
// So is the queue that was used longest ago when there are many: a queue's plans take some 100 kB.
#include "queue/queue.hpp"

#include "core/times.hpp"
#include "queue/registry.hpp"

namespace ecto_job {

namespace {

struct Entry {
    Oid oid; // the hash table's key
    bool valid;
    uint64 last_use;
    Queue *queue;
};

constexpr long most_kept = 100;

HTAB *entries = nullptr;
List *retired = NIL; // queues replaced in this transaction
MemoryContext cache_context = nullptr;
uint64 uses = 0;
uint64 freed = 0;
Oid being_read = InvalidOid;
bool changed_meanwhile = false;

void invalidate_all() {
    changed_meanwhile = true;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, entries);
    while (auto *entry = static_cast<Entry *>(hash_seq_search(&scan)))
        entry->valid = false;
}

Entry *find_entry(Oid oid) {
    return static_cast<Entry *>(hash_search(entries, &oid, HASH_FIND, nullptr));
}

void on_relcache_change(Datum, Oid relation) {
    if (relation == InvalidOid) {
        invalidate_all();
        return;
    }
    changed_meanwhile = changed_meanwhile || relation == being_read;
    if (Entry *const entry = find_entry(relation))
        entry->valid = false;
}

// A renamed schema says nothing to the tables in it
void on_namespace_change(Datum, int, uint32) {
    invalidate_all();
}

void free_retired() {
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

void at_transaction_end(XactEvent event, void *) {
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        free_retired();
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
    RegisterXactCallback(at_transaction_end, nullptr);
}

void retire(Queue *queue) {
    MemoryContext const before = MemoryContextSwitchTo(cache_context);
    retired = lappend(retired, queue);
    MemoryContextSwitchTo(before);
}

void remove(Entry *entry) {
    retire(entry->queue);
    hash_search(entries, &entry->oid, HASH_REMOVE, nullptr);
}

void remove_least_used() {
    Entry *least = nullptr;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, entries);
    while (auto *const entry = static_cast<Entry *>(hash_seq_search(&scan)))
        if (least == nullptr || entry->last_use < least->last_use)
            least = entry;
    if (least == nullptr)
        return;
    remove(least);
    freed++;
}

void keep(Queue *queue, bool valid) {
    if (Entry *const outdated = find_entry(queue->oid))
        remove(outdated);
    else if (hash_get_num_entries(entries) >= most_kept)
        remove_least_used();
    auto *const entry =
        static_cast<Entry *>(hash_search(entries, &queue->oid, HASH_ENTER, nullptr));
    entry->queue = queue;
    entry->valid = valid;
    entry->last_use = ++uses;
}

} // namespace

Queue *find_queue(Oid oid) {
    prepare_cache();
    Entry *const entry = find_entry(oid);
    if (entry != nullptr && entry->valid) {
        entry->last_use = ++uses;
        return entry->queue;
    }
    being_read = oid;
    changed_meanwhile = false;
    Queue read{};
    read_registry(oid, &read);
    auto *const queue = static_cast<Queue *>(MemoryContextAlloc(cache_context, sizeof(Queue)));
    *queue = read;
    keep(queue, !changed_meanwhile);
    return queue;
}

void free_queue(Oid oid) {
    Assert(!IsTransactionState());
    Entry *const entry = entries != nullptr ? find_entry(oid) : nullptr;
    if (entry == nullptr)
        return;
    remove(entry);
    free_retired();
    freed++;
}

uint64 freed_queues() {
    return freed;
}

void outdate_queue(Oid oid) {
    if (Entry *const entry = find_entry(oid))
        entry->valid = false;
}

void forget_queues() {
    if (entries != nullptr)
        invalidate_all();
}

const char *qualified_name(const Queue *queue) {
    return quote_qualified_identifier(NameStr(queue->schema), NameStr(queue->table));
}

} // namespace ecto_job
