// The launcher: a static background worker, without a database, that keeps one scheduler in each
// database that runs queues.
//
// The launcher cannot read a database's tables. So it *tries* a database: it starts a scheduler
// there, which leaves at once if there is nothing to do. The launcher tries every database once at
// its own start, one after the other, since worker slots are few (max_worker_processes). Later it
// tries a database that is new, or for which a session requests a scheduler
// (shared/scheduler_signals). It forgets databases that are closed to connections; while some are
// closed, it scans pg_database once a minute to find those that were opened.
//
// The states of a database:
//
//   wanted --- a scheduler is started --------------> running
//          --- no worker slot is free --------------> pausing, 1 s to 1 min
//          --- a session keeps schedulers out ------> pausing, 200 ms (shared/scheduler_lockout)
//   running -- the scheduler has left --------------> absent
//           -- it has died in a sweep --------------> wanted
//           -- it has failed -----------------------> pausing, 1 s to 1 min
//   pausing -- the pause is over -------------------> wanted
//   absent --- ecto_job.databases has changed, or
//              every database is requested ---------> as after a request
//
//   any state but running:
//           -- not listed any more, and a scheduler
//              of a former launcher is there --------> pausing, 1 s
//           -- a session requests a scheduler ------> wanted
//           -- a session requests one, after 3
//              quick starts in a row --------------> pausing, to 2 s after the last start
//
// A request thus also ends the pause after a failure. A request that comes while a scheduler is
// running takes effect at that scheduler's end.
#include <algorithm>

#include "core/backoff.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/oid_map.hpp"
#include "scheduler/preload.hpp"
#include "server_settings.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_lockout.hpp"
#include "shared/scheduler_processes.hpp"
#include "shared/scheduler_signals.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

// How soon the postmaster restarts a launcher that has failed
constexpr int restart_seconds = 5;
// The pauses after a scheduler that has failed, from the first to the longest
constexpr int64 first_pause_us = 1'000'000;
constexpr int64 longest_pause_us = 60'000'000;
// If a scheduler that fails has run for this long, the next pause is again the first one
constexpr int64 steady_ms = 60'000;
// How long the other databases wait for the one that is being tried
constexpr int64 trial_limit_ms = 10'000;
// After few_starts quick starts in a row, requests start a scheduler at most once in this time
constexpr int64 trial_interval_ms = 2000;
constexpr int few_starts = 3;
// How soon to try again in a database from which a session keeps schedulers out
constexpr int64 locked_ms = 200;
// How often pg_database is scanned while some databases are closed to connections
constexpr int64 closed_ms = 60'000;

enum class LaunchState { absent, wanted, running, pausing };

struct Database {
    Oid oid = InvalidOid;
    LaunchState state = LaunchState::wanted;
    bool listed = false;    // open, and named by ecto_job.databases, at the last scan
    bool requested = false; // running: another start was requested, for when this one has ended
    int slot = -1;          // running: the scheduler's slot in shared memory
    BackgroundWorkerHandle *handle = nullptr; // running: of the scheduler's process
    Backoff pauses{first_pause_us, longest_pause_us};
    TimestampTz pause_end = 0; // pausing
    TimestampTz started = 0;   // when a scheduler was last started here
    int starts_in_row = 0;     // quick ones: less than twice trial_interval_ms after the last
};

OidMap<Database> databases;
uint64 generation = 0; // of this launcher
bool logged_no_slot = false;
TimestampTz next_scan = DT_NOEND; // of pg_database, because some databases are closed

void pause_until(Database *database, TimestampTz end) {
    database->state = LaunchState::pausing;
    database->pause_end = end;
}

// Pauses after a failure, for longer with each one.
void pause(Database *database) {
    pause_until(database, GetCurrentTimestamp() + database->pauses.next());
}

// Requests the start of a scheduler, after a pause if many were started lately.
void request_start(Database *database) {
    const TimestampTz earliest = TimestampTzPlusMilliseconds(database->started, trial_interval_ms);
    if (database->state == LaunchState::running)
        database->requested = true;
    else if (database->starts_in_row >= few_starts && earliest > GetCurrentTimestamp())
        pause_until(database, earliest);
    else
        database->state = LaunchState::wanted;
}

// template0 does not count: it is always closed
bool is_closed(Form_pg_database row) {
    return !row->datallowconn && row->oid != Template0DbOid;
}

void list_database(Form_pg_database row) {
    if (!row->datallowconn || database_is_invalid_form(row) ||
        !settings::lists_database(NameStr(row->datname)))
        return;
    databases.insert(row->oid)->listed = true;
}

void record_scan(bool some_closed) {
    const TimestampTz now = GetCurrentTimestamp();
    next_scan = some_closed ? TimestampTzPlusMilliseconds(now, closed_ms) : DT_NOEND;
    const SharedLock lock(LW_EXCLUSIVE);
    shared_state()->launcher.some_closed = some_closed;
    shared_state()->launcher.scanned = now;
}

// Forgets databases that are no longer listed, and releases the records of their queues. While a
// scheduler, perhaps a former launcher's, still writes to these records, the database is kept.
void forget_unlisted() {
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

// Scans pg_database: new databases are wanted; databases that are dropped, closed, or not named by
// ecto_job.databases are forgotten.
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
    record_scan(some_closed);
    forget_unlisted();
}

// Releases the records of databases that were dropped while no launcher ran; after the first scan.
void release_lost_records() {
    release_records_unless(
        [](Oid database) { return databases.find(database) != nullptr || is_occupied(database); });
}

bool is_pause_over(TimestampTz now) {
    bool over = false;
    databases.for_each([&](Database *database) {
        over = over || (database->state == LaunchState::pausing && database->pause_end <= now);
    });
    return over;
}

// Scans pg_database and requests starts of schedulers, if sessions have asked or it is time.
void serve_requests(bool settings_changed) {
    const LauncherRequests requests = take_launcher_requests();
    const TimestampTz now = GetCurrentTimestamp();
    // The end of a pause needs a scan, too, since the database may have been dropped
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

// Decides what follows if the database's scheduler has ended.
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
        // No pause: the queue and its owner back off, and other owners' queues do not wait
        database->state = LaunchState::wanted;
    } else {
        if (now - database->started > steady_ms * 1000)
            database->pauses.reset();
        pause(database);
    }
    // A request during the run ends the pause after a failure, as a later one would
    if (database->requested && database->state != LaunchState::wanted)
        request_start(database);
    database->requested = false;
}

bool start_process(Database *database) {
    MemoryContext const before = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = register_scheduler(
        {database->oid, database->slot, generation, InvalidTransactionId}, &database->handle);
    MemoryContextSwitchTo(before);
    return registered;
}

void record_worker_slots(bool free) {
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
    record_worker_slots(registered);
    if (!registered) {
        if (database->slot >= 0)
            free_slot(database->slot);
        pause(database);
        return;
    }
    const TimestampTz now = GetCurrentTimestamp();
    // Twice the interval, so that a start that had to wait for its interval counts, too
    const bool soon = now - database->started < 2 * trial_interval_ms * 1000;
    database->starts_in_row = soon ? database->starts_in_row + 1 : 1;
    database->state = LaunchState::running;
    database->started = now;
}

// Returns whether the database is still being tried: its scheduler has not found work yet, nor
// left.
bool is_trial(const Database *database, TimestampTz now) {
    return database->state == LaunchState::running && !has_found_work(database->slot) &&
           now - database->started < trial_limit_ms * 1000;
}

bool is_locked(Oid database) {
    StartTransactionCommand();
    const bool locked = keeps_schedulers_out(database);
    CommitTransactionCommand();
    return locked;
}

// Starts at most one scheduler. Returns when to be called again at the latest.
TimestampTz start_next() {
    const TimestampTz now = GetCurrentTimestamp();
    TimestampTz next = next_scan;
    bool trying = false;
    Database *chosen = nullptr;
    databases.for_each([&](Database *database) {
        if (is_trial(database, now)) {
            trying = true;
            next = std::min(next, database->started + trial_limit_ms * 1000);
        }
        if (database->state == LaunchState::pausing && database->pause_end <= now)
            database->state = LaunchState::wanted;
        if (database->state == LaunchState::pausing)
            next = std::min(next, database->pause_end);
        else if (database->state == LaunchState::wanted)
            chosen = database;
    });
    if (chosen == nullptr || trying)
        return next;
    if (is_locked(chosen->oid))
        pause_until(chosen, TimestampTzPlusMilliseconds(now, locked_ms));
    else
        start(chosen);
    return now; // another database may be wanted
}

void sleep_until(TimestampTz next) {
    const bool never = next == DT_NOEND;
    const long ms = never ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
    WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (never ? 0 : WL_TIMEOUT), ms,
              wait_event());
}

// Reads postgresql.conf if the server was asked to do so. Returns whether this has changed
// ecto_job.databases.
bool reload_and_compare_databases() {
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
    // Schedulers of a former launcher leave, since this launcher could not notice their end
    generation = begin_generation(MyLatch);
    scan_databases();
    release_lost_records();
    for (;;) {
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(context);
        MemoryContextReset(context);
        const bool settings_changed = reload_and_compare_databases();
        databases.for_each(notice_end);
        serve_requests(settings_changed);
        sleep_until(start_next());
    }
}

} // namespace

void register_launcher() {
    BackgroundWorker worker = worker_of("ecto_job launcher", "ecto_job_launcher_main");
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
