// The background workers of this library and what is passed to them.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// In bgw_extra
struct SchedulerArguments {
    Oid database;
    int slot;
    uint64 generation;
};
static_assert(sizeof(SchedulerArguments) <= BGW_EXTRALEN);

// While shared_preload_libraries are loaded
void register_launcher();

// The hook on DROP DATABASE and the like; the same
void install_database_hook();

} // namespace ecto_job
