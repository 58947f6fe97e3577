// What the library starts when it is preloaded.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Registers the launcher's process; while shared_preload_libraries are loaded.
void register_launcher();

// Installs the hook on utility commands; while shared_preload_libraries are loaded.
void install_utility_hook();

} // namespace ecto_job
