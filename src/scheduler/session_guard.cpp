// Protection and cleaning of the session. See session_guard.hpp.
#include "scheduler/session_guard.hpp"

#include <malloc.h>

#include <algorithm>
#include <unordered_map>

#include "pg/compat.hpp"
#include "queue/queue.hpp"
#include "scheduler/singleton_lock.hpp"

namespace ecto_job {

namespace {

// Settings by which an ERROR, or a long transaction, would end the process and with it the sweeps
// of all owners. Every other setting of ordinary users ends with the sweep that sets it.
struct EndingSetting {
    const char *name;
    const char *harmless;
};
constexpr EndingSetting ending_settings[] = {{"exit_on_error", "off"},
                                             {"transaction_timeout", "0"}};

// Some dozens of settings: more than harmless code needs
constexpr Size harmless_settings = Size{16} * 1024;
// Some thousand functions: PL/pgSQL keeps what it has compiled of a function that is dropped
constexpr Size harmless_memory = Size{32} * 1024 * 1024;

std::unordered_map<Oid, Leftovers> *left_by = nullptr; // by owner

Size size_of_custom_settings() {
    Size size = 0;
    for_each_setting([&](const config_generic *setting) {
        if ((setting->flags & GUC_CUSTOM_PLACEHOLDER) != 0)
            size += sizeof(config_string) + strlen(setting->name);
    });
    return size;
}

// Returns whether the context belongs to this library. Such contexts do not count as left behind:
// they are bounded, or they also grow and shrink outside of sweeps.
bool is_ours(MemoryContext context) {
    constexpr char prefix[] = "ecto_job ";
    return strncmp(context->name, prefix, sizeof prefix - 1) == 0;
}

Size size_of_memory() {
    Size size = MemoryContextMemAllocated(TopMemoryContext, false) + size_of_cached_functions();
    for (MemoryContext child = TopMemoryContext->firstchild; child != nullptr;
         child = child->nextchild)
        if (child != CacheMemoryContext && !is_ours(child))
            size += MemoryContextMemAllocated(child, true);
    return size;
}

// Empties PostgreSQL's caches of catalogs and relations if many queues were freed since the last
// time. The caches never shrink by themselves, and a table with its indexes and types takes some
// 100 kB there. A queue is freed if it is idle (free_queue()), or if the session has more than
// queue.cpp keeps. While no queue is freed, nothing is trimmed and all plans stay.
void trim_memory() {
    constexpr uint64 freed_between = 50;
    static uint64 freed_before = 0;
    if (freed_queues() - freed_before < freed_between)
        return;
    freed_before = freed_queues();
    InvalidateSystemCaches();
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

// Adds the difference between `now` and `before`, which is negative if a sweep has freed memory.
// The sum does not become negative.
void add(Size *left, Size before, Size now) {
    *left += now;
    *left -= std::min(*left, before);
}

} // namespace

void protect_session() {
    left_by = new std::unordered_map<Oid, Leftovers>;
    for_each_setting([](config_generic *setting) {
        for (const EndingSetting &ending : ending_settings)
            if (strcmp(setting->name, ending.name) == 0) {
                // ALTER DATABASE ... SET reaches this process too
                SetConfigOption(ending.name, ending.harmless, PGC_SUSET, PGC_S_OVERRIDE);
                setting->flags |= GUC_NOT_WHILE_SEC_REST;
            }
    });
}

void clean_session() {
    take_singleton_lock();
    ResetSequenceCaches();
    trim_memory();
}

Leftovers leftovers() {
    return {size_of_custom_settings(), size_of_memory()};
}

Excess record_leftovers(Oid owner, const Leftovers &before) {
    const Leftovers now = leftovers();
    if (now.settings == before.settings && now.memory == before.memory)
        return Excess::none;
    Leftovers &left = (*left_by)[owner];
    add(&left.settings, before.settings, now.settings);
    add(&left.memory, before.memory, now.memory);
    const Excess excess = left.settings > harmless_settings ? Excess::settings
                          : left.memory > harmless_memory   ? Excess::memory
                                                            : Excess::none;
    if (excess != Excess::none)
        left = {};
    return excess;
}

} // namespace ecto_job
