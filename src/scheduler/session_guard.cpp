// What a sweep must not change and what it leaves. See session_guard.hpp.
#include "scheduler/session_guard.hpp"

#include <algorithm>
#include <unordered_map>

#include "pg/compat.hpp"
#include "scheduler/singleton_lock.hpp"

namespace ecto_job {

namespace {

// With these an ERROR, or a transaction that takes long, would end the process and with it the
// sweeps of everybody. All other settings of ordinary users end with the sweep that sets them.
struct EndingSetting {
    const char *name;
    const char *harmless;
};
constexpr EndingSetting ending_settings[] = {{"exit_on_error", "off"},
                                             {"transaction_timeout", "0"}};

// Some dozens of settings: what code that means no harm may need
constexpr Size harmless_settings = Size{16} * 1024;
// Some thousand functions: PL/pgSQL keeps what it has compiled of a function that is dropped
constexpr Size harmless_memory = Size{32} * 1024 * 1024;

std::unordered_map<Oid, Leftovers> *left_by = nullptr; // owners whose code has left any

Size size_of_custom_settings() {
    Size size = 0;
    for_each_setting([&](const config_generic *setting) {
        if ((setting->flags & GUC_CUSTOM_PLACEHOLDER) != 0)
            size += sizeof(config_string) + strlen(setting->name);
    });
    return size;
}

// Our own contexts are bounded, or change apart from sweeps, too
bool is_ours(MemoryContext context) {
    constexpr char prefix[] = "ecto_job ";
    return strncmp(context->name, prefix, sizeof prefix - 1) == 0;
}

Size size_of_memory() {
    Size size = MemoryContextMemAllocated(TopMemoryContext, false);
    for (MemoryContext child = TopMemoryContext->firstchild; child != nullptr;
         child = child->nextchild)
        if (child != CacheMemoryContext && !is_ours(child))
            size += MemoryContextMemAllocated(child, true);
    return size;
}

// Memory that a sweep gives back counts, too
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
}

Leftovers leftovers() {
    return {size_of_custom_settings(), size_of_memory()};
}

Excess note_leftovers(Oid owner, const Leftovers &before) {
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
