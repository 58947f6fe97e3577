// Registration and search of a scheduler's process. See scheduler_processes.hpp.
#include "shared/scheduler_processes.hpp"

#include "pg/compat.hpp"

namespace ecto_job {

namespace {

constexpr const char *worker_type = "ecto_job scheduler";

} // namespace

BackgroundWorker worker_of(const char *type, const char *main) {
    BackgroundWorker worker{};
    strlcpy(worker.bgw_name, type, sizeof worker.bgw_name);
    strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
    strlcpy(worker.bgw_library_name, "ecto_job", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, main, sizeof worker.bgw_function_name);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    return worker;
}

bool register_scheduler(const SchedulerArguments &arguments, BackgroundWorkerHandle **handle) {
    BackgroundWorker worker = worker_of(worker_type, "ecto_job_scheduler_main");
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s for database %u", worker_type,
             arguments.database);
    worker.bgw_notify_pid = MyProcPid;
    memcpy(worker.bgw_extra, &arguments, sizeof arguments);
    return RegisterDynamicBackgroundWorker(&worker, handle);
}

// Reads without a lock, as pg_locks does: the result was true a moment ago
PGPROC *next_scheduler_process(const PGPROC *after, Oid database) {
    PGPROC *const end = ProcGlobal->allProcs + ProcGlobal->allProcCount;
    PGPROC *process = ProcGlobal->allProcs;
    if (after != nullptr)
        process += after - ProcGlobal->allProcs + 1;
    for (; process < end; process++) {
        if (process->pid == 0 || process->databaseId != database || process == MyProc ||
            !is_background_worker(process))
            continue;
        const char *const type = GetBackgroundWorkerTypeByPid(process->pid);
        if (type != nullptr && strcmp(type, worker_type) == 0)
            return process;
    }
    return nullptr;
}

void signal_scheduler_processes() {
    for (PGPROC *scheduler = next_scheduler_process(); scheduler != nullptr;
         scheduler = next_scheduler_process(scheduler))
        SetLatch(&scheduler->procLatch);
}

} // namespace ecto_job
