// Remembering whom to leave out. See left_out.hpp.
#include "queue/left_out.hpp"

#include <algorithm>

namespace ecto_job {

namespace {

struct LeftOut {
    int64 id;
    TimestampTz until; // it is tried again from then on
};

struct Entry {
    Oid queue; // the hash table's key
    int count;
    int size;
    LeftOut *jobs;
};

HTAB *entries = nullptr;
MemoryContext memory = nullptr;

void try_again(Entry *entry) {
    for (int i = 0; i < entry->count; i++)
        entry->jobs[i].until = 0;
}

// Whatever has changed may have mended what was at fault
void on_relcache_change(Datum, Oid relation) {
    if (relation != InvalidOid) {
        if (auto *const entry =
                static_cast<Entry *>(hash_search(entries, &relation, HASH_FIND, nullptr)))
            try_again(entry);
        return;
    }
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, entries);
    while (auto *const entry = static_cast<Entry *>(hash_seq_search(&scan)))
        try_again(entry);
}

void prepare() {
    if (entries != nullptr)
        return;
    memory = AllocSetContextCreate(TopMemoryContext, "ecto_job left out", ALLOCSET_SMALL_SIZES);
    HASHCTL control{};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(Entry);
    control.hcxt = memory;
    entries = hash_create("ecto_job left out", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    CacheRegisterRelcacheCallback(on_relcache_change, 0);
}

Entry *find(Oid queue) {
    return entries == nullptr
               ? nullptr
               : static_cast<Entry *>(hash_search(entries, &queue, HASH_FIND, nullptr));
}

Entry *make(Oid queue) {
    prepare();
    bool found;
    auto *const entry = static_cast<Entry *>(hash_search(entries, &queue, HASH_ENTER, &found));
    if (!found) {
        entry->count = entry->size = 0;
        entry->jobs = nullptr;
    }
    return entry;
}

// Where to put another: behind the last, or in the place of the one that is tried again first
LeftOut *place_in(Entry *entry) {
    if (entry->count == most_left_out)
        return std::min_element(
            entry->jobs, entry->jobs + entry->count,
            [](const LeftOut &a, const LeftOut &b) { return a.until < b.until; });
    if (entry->count == entry->size) {
        const int size = entry->size == 0 ? 4 : 2 * entry->size;
        const Size bytes = static_cast<Size>(size) * sizeof(LeftOut);
        entry->jobs =
            static_cast<LeftOut *>(entry->jobs == nullptr ? MemoryContextAlloc(memory, bytes)
                                                          : repalloc(entry->jobs, bytes));
        entry->size = size;
    }
    return &entry->jobs[entry->count++];
}

} // namespace

int left_out_count(Oid queue) {
    const Entry *const entry = find(queue);
    if (entry == nullptr)
        return 0;
    const TimestampTz now = GetCurrentTimestamp();
    return static_cast<int>(std::count_if(entry->jobs, entry->jobs + entry->count,
                                          [now](const LeftOut &job) { return job.until > now; }));
}

int left_out_ids(Oid queue, Datum *ids) {
    const Entry *const entry = find(queue);
    const TimestampTz now = GetCurrentTimestamp();
    int count = 0;
    for (int i = 0; entry != nullptr && i < entry->count; i++)
        if (entry->jobs[i].until > now)
            ids[count++] = Int64GetDatum(entry->jobs[i].id);
    return count;
}

bool leave_out(Oid queue, int64 id, int64 for_ms) {
    Entry *const entry = make(queue);
    LeftOut *const end = entry->jobs + entry->count;
    LeftOut *const found =
        std::find_if(entry->jobs, end, [id](const LeftOut &job) { return job.id == id; });
    const bool is_new = found == end;
    LeftOut *const place = is_new ? place_in(entry) : found;
    *place = {id, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), for_ms)};
    return is_new;
}

} // namespace ecto_job
