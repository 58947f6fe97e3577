// The launcher: a static background worker, without a database, that keeps one scheduler in each
// database that runs queues.
//
// The launcher cannot see into a database, so it tries: a scheduler that finds nothing to do leaves
// at once. Every database is tried once at the start, one at a time, since worker slots are few
// (max_worker_processes); after that only when a session requests it (shared/scheduler_signals), or
// when the database is new. A database that is closed to connections is forgotten; while some are,
// pg_database is scanned once a minute.
//
// The states of a database:
//
//   wanted --> running --> absent    the scheduler left, having nothing to do
//     ^  ^        |          |
//     |  |        v          |       it ended otherwise: from a second to a minute
//     |  +---- pausing       |
//     +----------------------+       a session requests a scheduler
#include <algorithm>

#include "core/backoff.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/oid_map.hpp"
#include "scheduler/preload.hpp"
#include "server_settings.hpp"
#include "shared/scheduler_lockout.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_signals.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

constexpr int restart_seconds = 5;
// How long to pause after a scheduler that failed, and how long to leave alone a database that is
// gone while a scheduler still writes to it
constexpr int64 first_pause_us = 1'000'000;
constexpr int64 longest_pause_us = 60'000'000;
// A scheduler that runs for this long has ended for a new reason
constexpr int64 steady_ms = 60'000;
// A trial that hangs does not keep the others waiting for longer
constexpr int64 trial_limit_ms = 10'000;
// However many requests come, no other start is made for this long after a few in a row
constexpr int64 trial_interval_ms = 2000;
constexpr int few_starts = 3;
// How soon to retry in a database that a command has for itself
constexpr int64 locked_ms = 200;
// How soon to scan again for databases that were opened
constexpr int64 closed_ms = 60'000;

enum class LaunchState { absent, wanted, running, pausing };

struct Database {
    Oid oid = InvalidOid;
    LaunchState state = LaunchState::wanted;
    bool listed = false;    // in pg_database at the last scan, open, and allowed
    bool requested = false; // running: another start, while the scheduler was ending
    int slot = -1;          // running: its place in shared memory
    Backoff pauses{first_pause_us, longest_pause_us};
    TimestampTz since = 0;   // running: the start; pausing: when it ends
    TimestampTz started = 0; // when a scheduler was last started here
    int starts_in_row = 0;   // each less than twice trial_interval_ms after the one before
    BackgroundWorkerHandle *handle = nullptr;
};

OidMap<Database> databases;
uint64 generation = 0;
bool logged_no_slot = false;
TimestampTz next_scan = DT_NOEND; // of pg_database, for databases that were opened

void pause_until(Database *database, TimestampTz end) {
    database->state = LaunchState::pausing;
    database->since = end;
}

void request_start(Database *database) {
    const TimestampTz earliest = TimestampTzPlusMilliseconds(database->started, trial_interval_ms);
    if (database->state == LaunchState::running)
        database->requested = true;
    else if (database->starts_in_row >= few_starts && earliest > GetCurrentTimestamp())
        pause_until(database, earliest);
    else
        database->state = LaunchState::wanted;
}

void pause(Database *database) {
    pause_until(database, GetCurrentTimestamp() + database->pauses.next());
}

// template0 is always closed
bool is_closed(Form_pg_database row) {
    return !row->datallowconn && row->oid != Template0DbOid;
}

void list_database(Form_pg_database row) {
    if (!row->datallowconn || database_is_invalid_form(row) ||
        !settings::lists_database(NameStr(row->datname)))
        return;
    databases.insert(row->oid)->listed = true;
}

void note_scan(bool some_closed) {
    const TimestampTz now = GetCurrentTimestamp();
    next_scan = some_closed ? TimestampTzPlusMilliseconds(now, closed_ms) : DT_NOEND;
    const SharedLock lock(LW_EXCLUSIVE);
    shared_state()->launcher.some_closed = some_closed;
    shared_state()->launcher.scanned = now;
}

// Forgets databases that are gone, with the records of their queues; but not under a scheduler,
// perhaps of a former launcher, that is still writing to them.
void forget_databases() {
    databases.for_each([](Database *database) {
        if (database->listed || database->state == LaunchState::running)
            return;
        if (is_occupied(database->oid)) {
            pause_until(database, GetCurrentTimestamp() + first_pause_us);
            return;
        }
        release_records_of(database->oid);
        databases.erase(database->oid);
    });
}

// Scans pg_database. A database that is gone, or closed, is forgotten; one that is not known yet is
// wanted.
void scan_databases() {
    bool some_closed = false;
    databases.for_each([](Database *database) { database->listed = false; });
    StartTransactionCommand();
    Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
    TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
    while (HeapTuple const row = heap_getnext(scan, ForwardScanDirection)) {
        auto *const database = reinterpret_cast<Form_pg_database>(GETSTRUCT(row));
        some_closed = some_closed || is_closed(database);
        list_database(database);
    }
    table_endscan(scan);
    table_close(catalog, AccessShareLock);
    CommitTransactionCommand();
    note_scan(some_closed);
    forget_databases();
}

// Releases the records of databases that went while no launcher ran.
void release_lost_records() {
    scan_databases();
    release_records_unless(
        [](Oid database) { return databases.find(database) != nullptr || is_occupied(database); });
}

bool is_pause_over(TimestampTz now) {
    bool over = false;
    databases.for_each([&](Database *database) {
        over = over || (database->state == LaunchState::pausing && database->since <= now);
    });
    return over;
}

void serve_requests(bool settings_changed) {
    const LauncherRequests requests = take_launcher_requests();
    const TimestampTz now = GetCurrentTimestamp();
    // A pause that has ended needs a scan, too, since the database may be gone
    if (!requests.start_all && !requests.database_scan && requests.count == 0 &&
        !settings_changed && !is_pause_over(now) && now < next_scan)
        return;
    scan_databases();
    if (requests.start_all || settings_changed)
        databases.for_each([](Database *database) {
            if (database->state == LaunchState::absent)
                request_start(database);
        });
    for (int i = 0; i < requests.count; i++)
        if (Database *const database = databases.find(requests.databases[i]))
            request_start(database);
}

void notice_end(Database *database) {
    pid_t pid = 0;
    if (database->state != LaunchState::running ||
        GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
        return;
    Assert(database->handle != nullptr && database->slot >= 0);
    pfree(database->handle);
    database->handle = nullptr;
    const TimestampTz now = GetCurrentTimestamp();
    const SchedulerEnd end = free_slot(database->slot);
    if (end == SchedulerEnd::left) {
        database->state = LaunchState::absent;
        database->pauses.reset();
    } else if (end == SchedulerEnd::died_in_sweep) {
        // The queue that ended it waits, and its owner's others, but nobody else's
        database->state = LaunchState::wanted;
    } else {
        if (now - database->since > steady_ms * 1000)
            database->pauses.reset();
        pause(database);
    }
    if (database->requested && database->state == LaunchState::absent)
        request_start(database);
    else if (database->requested)
        database->state = LaunchState::wanted;
    database->requested = false;
}

bool start_process(Database *database) {
    MemoryContext const before = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = register_scheduler(
        {database->oid, database->slot, generation, InvalidTransactionId}, &database->handle);
    MemoryContextSwitchTo(before);
    return registered;
}

void note_worker_slots(bool free) {
    {
        const SharedLock lock(LW_EXCLUSIVE);
        shared_state()->launcher.no_worker_slot = !free;
    }
    if (!free && !logged_no_slot)
        ereport(LOG,
                (errmsg("no background worker is free for an ecto_job scheduler"),
                 errhint("Raise max_worker_processes, now %d: one for the launcher and one for "
                         "each database with queues, besides those of others.",
                         max_worker_processes)));
    logged_no_slot = !free;
}

void start(Database *database) {
    Assert(database->state == LaunchState::wanted && database->handle == nullptr);
    database->slot = allocate_slot(database->oid, generation);
    const bool registered = database->slot >= 0 && start_process(database);
    note_worker_slots(registered);
    if (!registered) {
        if (database->slot >= 0)
            free_slot(database->slot);
        pause(database);
        return;
    }
    const TimestampTz now = GetCurrentTimestamp();
    // One that has waited for its time is of the row, too
    const bool soon = now - database->started < 2 * trial_interval_ms * 1000;
    database->starts_in_row = soon ? database->starts_in_row + 1 : 1;
    database->state = LaunchState::running;
    database->since = database->started = now;
}

bool is_trial(const Database *database, TimestampTz now) {
    return database->state == LaunchState::running && !has_found_work(database->slot) &&
           now - database->since < trial_limit_ms * 1000;
}

bool is_locked(Oid database) {
    StartTransactionCommand();
    const bool locked = keeps_schedulers_out(database);
    CommitTransactionCommand();
    return locked;
}

// Starts at most one scheduler. Returns when to be called again, unless a latch is set before.
TimestampTz start_next() {
    const TimestampTz now = GetCurrentTimestamp();
    TimestampTz next = next_scan;
    bool trying = false;
    Database *chosen = nullptr;
    databases.for_each([&](Database *database) {
        if (is_trial(database, now)) {
            trying = true;
            next = std::min(next, database->since + trial_limit_ms * 1000);
        }
        if (database->state == LaunchState::pausing && database->since <= now)
            database->state = LaunchState::wanted;
        if (database->state == LaunchState::pausing)
            next = std::min(next, database->since);
        else if (database->state == LaunchState::wanted)
            chosen = database;
    });
    if (chosen == nullptr || trying)
        return next;
    if (is_locked(chosen->oid))
        pause_until(chosen, TimestampTzPlusMilliseconds(now, locked_ms));
    else
        start(chosen);
    return now; // for the next one
}

void sleep_until(TimestampTz next) {
    const bool never = next == DT_NOEND;
    const long ms = never ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
    WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (never ? 0 : WL_TIMEOUT), ms,
              wait_event());
}

// Returns whether ecto_job.databases allows others than before.
bool reload_settings() {
    if (!ConfigReloadPending)
        return false;
    ConfigReloadPending = false;
    const char *const before = pstrdup(settings::databases);
    ProcessConfigFile(PGC_SIGHUP);
    return strcmp(before, settings::databases) != 0;
}

void at_exit(int, Datum) {
    const SharedLock lock(LW_EXCLUSIVE);
    shared_state()->launcher.latch = nullptr;
}

[[noreturn]] void run() {
    pqsignal(SIGINT, SIG_IGN);
    pqsignal(SIGTERM, die);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    SetConfigOption("application_name", "ecto_job launcher", PGC_SUSET, PGC_S_OVERRIDE);

    databases.create("ecto_job databases", TopMemoryContext);
    MemoryContext const context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job launcher", ALLOCSET_DEFAULT_SIZES);
    before_shmem_exit(at_exit, 0);
    // A former launcher's schedulers leave: their handles are lost
    generation = begin_generation(MyLatch);
    release_lost_records();
    for (;;) {
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(context);
        MemoryContextReset(context);
        const bool settings_changed = reload_settings();
        databases.for_each(notice_end);
        serve_requests(settings_changed);
        sleep_until(start_next());
    }
}

} // namespace

void register_launcher() {
    BackgroundWorker worker{};
    strlcpy(worker.bgw_name, "ecto_job launcher", sizeof worker.bgw_name);
    strlcpy(worker.bgw_type, "ecto_job launcher", sizeof worker.bgw_type);
    strlcpy(worker.bgw_library_name, "ecto_job", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "ecto_job_launcher_main", sizeof worker.bgw_function_name);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = restart_seconds;
    RegisterBackgroundWorker(&worker);
}

} // namespace ecto_job

extern "C" {
PGDLLEXPORT void ecto_job_launcher_main(Datum);

void ecto_job_launcher_main(Datum) {
    ecto_job::at_boundary([] { ecto_job::run(); });
}
}
