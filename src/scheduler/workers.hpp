// What the library sets going while it is preloaded.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// While shared_preload_libraries are loaded
void register_launcher();

// The hook on utility commands; the same
void install_command_hook();

} // namespace ecto_job
