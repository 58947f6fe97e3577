// The library's initialisation when the server loads it: settings, the planner's hook and the
// callbacks of transactions always; shared memory, the launcher and the hook on commands only where
// it is in shared_preload_libraries.
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "queue/transaction_end.hpp"
#include "scheduler/preload.hpp"
#include "server_settings.hpp"
#include "shared/state.hpp"
#include "table/planner_hook.hpp"

extern "C" {
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "ecto_job", .version = ECTO_JOB_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init();

void _PG_init() {
    ecto_job::at_boundary([] {
        ecto_job::check_server_version();
        const bool preloading = process_shared_preload_libraries_in_progress;
        ecto_job::settings::define(preloading);
        ecto_job::install_planner_hook();
        ecto_job::install_transaction_callbacks();
        // pg_upgrade's server starts no background workers
        if (!preloading || IsBinaryUpgrade)
            return;
        ecto_job::install_shared_state();
        ecto_job::install_utility_hook();
        ecto_job::register_launcher();
    });
}
}
