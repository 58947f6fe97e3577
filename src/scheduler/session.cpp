// What a sweep must not change and what it leaves. See session.hpp.
#include "scheduler/session.hpp"

#include <unordered_map>

#include "pg/compat.hpp"
#include "scheduler/only_one.hpp"

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
constexpr Size harmless_size = Size{16} * 1024;

std::unordered_map<Oid, Size> *left_by = nullptr; // owners whose code has left any

} // namespace

void protect_session() {
    left_by = new std::unordered_map<Oid, Size>;
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
    be_the_only_one();
    ResetSequenceCaches();
}

Size size_of_custom_settings() {
    Size size = 0;
    for_each_setting([&](const config_generic *setting) {
        if ((setting->flags & GUC_CUSTOM_PLACEHOLDER) != 0)
            size += sizeof(config_string) + strlen(setting->name);
    });
    return size;
}

bool has_left_too_much(Oid owner, Size before) {
    const Size now = size_of_custom_settings();
    if (now <= before)
        return false;
    Size &left = (*left_by)[owner];
    left += now - before;
    if (left <= harmless_size)
        return false;
    left = 0;
    return true;
}

} // namespace ecto_job
