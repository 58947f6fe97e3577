// The list of skipped jobs. See skipped_jobs.hpp.
#include "queue/skipped_jobs.hpp"

#include <algorithm>
#include <iterator>

#include "pg/oid_map.hpp"

namespace ecto_job {

namespace {

struct SkippedJob {
    int64 id;
    TimestampTz until; // the job is tried again from this time on
};

struct Beginning {
    JobKey behind = {};
    TimestampTz until = 0; // 0: at the start
};

struct Entry {
    Oid oid = InvalidOid; // of the queue
    Beginning beginnings[walks] = {};
    int count = 0;
    SkippedJob *jobs = nullptr; // with room for most_skipped
};

OidMap<Entry> entries;
MemoryContext memory = nullptr;

void try_again(Entry *entry) {
    for (int i = 0; i < entry->count; i++)
        entry->jobs[i].until = 0;
    for (Beginning &beginning : entry->beginnings)
        beginning.until = 0;
}

// When a table's definition has changed, tries all of its jobs again, since the change may have
// removed the fault. A reset of all caches (InvalidOid) does not mean that a table has changed.
void on_relcache_change(Datum, Oid relation) {
    if (Entry *const entry = entries.find(relation))
        try_again(entry);
}

int count_at(const Entry *entry, TimestampTz now) {
    return static_cast<int>(
        std::count_if(entry->jobs, entry->jobs + entry->count,
                      [now](const SkippedJob &job) { return job.until > now; }));
}

// Returns whether a job is skipped, or a walk begins behind the start.
bool holds_anything(const Entry *entry, TimestampTz now) {
    return count_at(entry, now) > 0 ||
           std::any_of(std::begin(entry->beginnings), std::end(entry->beginnings),
                       [now](const Beginning &beginning) { return beginning.until > now; });
}

// Forgets the queues of which nothing is remembered any more, such as dropped ones.
void remove_past() {
    const TimestampTz now = GetCurrentTimestamp();
    entries.for_each([now](Entry *entry) {
        if (holds_anything(entry, now))
            return;
        if (entry->jobs != nullptr)
            pfree(entry->jobs);
        entries.erase(entry->oid);
    });
}

void prepare() {
    if (entries.exists())
        return;
    memory = AllocSetContextCreate(TopMemoryContext, "ecto_job skipped jobs", ALLOCSET_SMALL_SIZES);
    entries.create("ecto_job skipped jobs", memory, 16);
    CacheRegisterRelcacheCallback(on_relcache_change, 0);
}

Entry *find(Oid queue) {
    return entries.exists() ? entries.find(queue) : nullptr;
}

Entry *make(Oid queue) {
    if (Entry *const known = find(queue))
        return known;
    prepare();
    remove_past();
    return entries.insert(queue);
}

// Returns the place for another job: behind the last one, or that of the job that would be tried
// again first.
SkippedJob *place_in(Entry *entry) {
    if (entry->count == most_skipped)
        return std::min_element(
            entry->jobs, entry->jobs + entry->count,
            [](const SkippedJob &a, const SkippedJob &b) { return a.until < b.until; });
    if (entry->jobs == nullptr)
        entry->jobs = static_cast<SkippedJob *>(
            MemoryContextAlloc(memory, most_skipped * sizeof(SkippedJob)));
    return &entry->jobs[entry->count++];
}

} // namespace

int skipped_count(Oid queue) {
    const Entry *const entry = find(queue);
    return entry == nullptr ? 0 : count_at(entry, GetCurrentTimestamp());
}

int skipped_ids(Oid queue, Datum *ids) {
    const Entry *const entry = find(queue);
    const TimestampTz now = GetCurrentTimestamp();
    int count = 0;
    for (int i = 0; entry != nullptr && i < entry->count; i++)
        if (entry->jobs[i].until > now)
            ids[count++] = Int64GetDatum(entry->jobs[i].id);
    return count;
}

const JobKey *walk_start(Oid queue, Walk walk) {
    const Entry *const entry = find(queue);
    if (entry == nullptr)
        return nullptr;
    const Beginning &beginning = entry->beginnings[static_cast<int>(walk)];
    return beginning.until > GetCurrentTimestamp() ? &beginning.behind : nullptr;
}

void set_walk_start(Oid queue, Walk walk, const JobKey &key, int64 for_ms) {
    make(queue)->beginnings[static_cast<int>(walk)] = {
        key, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), for_ms)};
}

void reset_walk_start(Oid queue, Walk walk) {
    if (Entry *const entry = find(queue))
        entry->beginnings[static_cast<int>(walk)].until = 0;
}

bool skip_job(Oid queue, int64 id, int64 for_ms) {
    Entry *const entry = make(queue);
    SkippedJob *const end = entry->jobs + entry->count;
    SkippedJob *const found =
        std::find_if(entry->jobs, end, [id](const SkippedJob &job) { return job.id == id; });
    const bool is_new = found == end;
    SkippedJob *const place = is_new ? place_in(entry) : found;
    *place = {id, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), for_ms)};
    return is_new;
}

} // namespace ecto_job
