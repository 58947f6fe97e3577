// The look at the registry and the order of the turns. See round.hpp.
#include "scheduler/round.hpp"

#include <algorithm>

#include "core/version.hpp"
#include "pg/names.hpp"
#include "queue/queue.hpp"
#include "scheduler/transaction.hpp"
#include "scheduler/memory.hpp"
#include "scheduler/announce.hpp"
#include "scheduler/session_guard.hpp"
#include "scheduler/sweep.hpp"
#include "settings.hpp"
#include "shared/mailbox.hpp"
#include "shared/owner_deaths.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_slots.hpp"
#include "shared/sessions.hpp"

namespace ecto_job {

namespace {

constexpr int64 retry_ms = 1000;  // while the extension is being dropped
constexpr int64 idle_ms = 60'000; // while there is nothing to sweep
constexpr int64 longest_look_pause_ms = 60'000;
constexpr int64 reading_us = 10'000; // so often, between turns, it is read what commits brought
constexpr int64 pass_us = 100'000;   // and so often what else may be wanted of the scheduler

enum class Finding {
    queues,        // there is work here
    no_queues,     // the first one may come
    nothing,       // no extension, or disabled
    not_enabled,   // queues, but nobody said that they run in this database: a copy
    being_dropped, // or created: look again soon
    newer,         // the extension's SQL is newer than this library
};

struct Look {
    Finding finding;
    Oid extension;
    char *version;  // of the extension; both live until the next round
    char *database; // its name
};

HTAB *watched_queues = nullptr;
MemoryContext watched_context = nullptr;
MemoryContext round_context = nullptr;
Oid known_extension = InvalidOid;
bool warned_of_max_queues = false;
int look_failures = 0;
bool told_of_version = false;
Finding finding = Finding::nothing;  // at the last look
TimestampTz next_look = 0;           // without a reason
bool was_enabled = false;            // the setting, in the last round
bool all_due = true;                 // at the start, and when the clock was set back
TimestampTz clock_seen = DT_NOBEGIN; // when it was last asked whether it was set back
Shares *shares = nullptr;
WaitingOwner waiting[max_owner_deaths]; // of owners whose code has ended a scheduler
int waiting_count = 0;

template <typename F> void for_each_watched(F visit) {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, watched_queues);
    while (auto *const watched = static_cast<Watched *>(hash_seq_search(&scan)))
        visit(watched);
}

bool is_watched(Oid queue) {
    return hash_search(watched_queues, &queue, HASH_FIND, nullptr) != nullptr;
}

void drop_own_record(Watched *watched) {
    if (!watched->is_told)
        pfree(watched->record);
}

void unwatch(Watched *watched) {
    drop_own_record(watched);
    pfree(watched->name);
    hash_search(watched_queues, &watched->queue, HASH_REMOVE, nullptr);
}

// Of those that are gone, and of those that went while there was no scheduler, the records too
void unwatch_unlisted() {
    for_each_watched([](Watched *watched) {
        if (!watched->listed)
            unwatch(watched);
    });
    keep_records(is_watched);
}

void unlist_all() {
    for_each_watched([](Watched *watched) { watched->listed = false; });
}

// Makes a record in this process, for a queue without a place in shared memory
QueueRecord *make_own_record() {
    auto *const record =
        static_cast<QueueRecord *>(MemoryContextAllocZero(watched_context, sizeof(QueueRecord)));
    SpinLockInit(&record->mutex);
    clear_record(record);
    return record;
}

QueueRecord *claim_shared_record(Oid queue) {
    return is_state_shared() ? claim_record(queue) : nullptr;
}

void watch(Oid queue, Oid owner) {
    if (auto *const known =
            static_cast<Watched *>(hash_search(watched_queues, &queue, HASH_FIND, nullptr))) {
        known->listed = true;
        known->owner = owner;
        return;
    }
    const char *const table = table_name_or_null(queue);
    const char *const schema = schema_name_or_null(get_rel_namespace(queue));
    const char *const name =
        table != nullptr && schema != nullptr ? quote_qualified_identifier(schema, table) : "gone";
    QueueRecord *const place = claim_shared_record(queue);
    Watched watched{};
    watched.queue = queue;
    watched.owner = owner;
    watched.listed = true;
    watched.is_told = place != nullptr;
    watched.poll_interval_ms = retry_ms; // until its settings are read, in its first turn
    watched.record = place != nullptr ? place : make_own_record();
    watched.name = MemoryContextStrdup(watched_context, name);
    *static_cast<Watched *>(hash_search(watched_queues, &queue, HASH_ENTER, nullptr)) = watched;
}

void warn_of_max_queues() {
    if (!warned_of_max_queues)
        ereport(WARNING,
                (errmsg("more queues than places in shared memory"),
                 errdetail("The others work too, but sessions notify by themselves, what is "
                           "due is found by poll_interval, and no status is shown."),
                 errhint("All %d places are taken. Raise ecto_job.max_queues, now %d, and restart "
                         "the server.",
                         static_cast<int>(max_records()), settings::max_queues)));
    warned_of_max_queues = true;
}

// Gives places to the queues that had to go without, as far as others have given theirs back
void give_records() {
    bool all_taken = false;
    for_each_watched([&](Watched *watched) {
        if (!watched->is_told && is_state_shared() && !all_taken) {
            QueueRecord *const place = claim_record(watched->queue);
            if (place != nullptr) {
                drop_own_record(watched);
                watched->record = place;
                watched->is_told = true;
            } else {
                all_taken = true;
                warn_of_max_queues();
            }
        }
        if (watched->record->in_turn)
            note_death(watched);
    });
}

Datum column(uint64 row, int number, bool *is_null) {
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, is_null);
}

void select(const char *text, Oid type, Datum value) {
    Oid types[] = {type};
    Datum values[] = {value};
    if (SPI_execute_with_args(text, OidIsValid(type) ? 1 : 0, types, values, nullptr, true, 0) !=
        SPI_OK_SELECT)
        elog(ERROR, "scheduler's query failed: %s", text);
}

// Tables that went while the event trigger could not see it
void forget_dropped_tables() {
    if (SPI_execute("DELETE FROM ecto_job.queue_settings s WHERE NOT EXISTS (SELECT FROM"
                    " pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) s.queue)",
                    false, 0) != SPI_OK_DELETE)
        elog(ERROR, "cleaning ecto_job.queue_settings failed");
}

void read_queues() {
    select(
        "SELECT s.queue, c.relowner FROM ecto_job.queue_settings s LEFT JOIN pg_catalog.pg_class c"
        " ON c.oid OPERATOR(pg_catalog.=) s.queue",
        InvalidOid, 0);
    bool dropped = false;
    unlist_all();
    for (uint64 row = 0; row < SPI_processed; row++) {
        bool is_null = false;
        const Oid queue = DatumGetObjectId(column(row, 1, &is_null));
        const Oid owner = DatumGetObjectId(column(row, 2, &is_null));
        dropped = dropped || is_null;
        if (!is_null)
            watch(queue, owner);
    }
    unwatch_unlisted();
    give_records();
    if (dropped)
        forget_dropped_tables();
}

void look(Look *look) {
    look->extension = get_extension_oid("ecto_job", true);
    look->finding = Finding::nothing;
    const bool made_anew = OidIsValid(known_extension) && look->extension != known_extension;
    if (made_anew || !OidIsValid(look->extension)) {
        forget_queues();
        unlist_all();
        unwatch_unlisted();
    }
    known_extension = look->extension;
    if (!OidIsValid(look->extension))
        return;
    look->finding = Finding::being_dropped;
    if (!lock_extension(look->extension))
        return;
    bool is_null = false;
    select("SELECT extversion FROM pg_catalog.pg_extension WHERE oid OPERATOR(pg_catalog.=) $1",
           OIDOID, ObjectIdGetDatum(look->extension));
    // Made anew since this transaction's snapshot, which get_extension_oid() does not go by
    if (SPI_processed == 0)
        return;
    char *const version = TextDatumGetCString(column(0, 1, &is_null));
    look->version = MemoryContextStrdup(round_context, version);
    look->database = MemoryContextStrdup(round_context, database_name());
    look->finding = Finding::newer;
    if (compare_versions(version, ECTO_JOB_VERSION) > 0)
        return;

    // Two first queues leave two rows, and one of disable() among them counts
    select("SELECT enabled FROM ecto_job.scheduler_state WHERE database OPERATOR(pg_catalog.=) $1"
           " ORDER BY enabled LIMIT 1",
           OIDOID, ObjectIdGetDatum(MyDatabaseId));
    const bool recorded = SPI_processed > 0;
    const bool enabled = recorded && DatumGetBool(column(0, 1, &is_null));
    read_queues();
    const bool queues = hash_get_num_entries(watched_queues) > 0;
    look->finding = recorded && !enabled ? Finding::nothing
                    : !queues            ? Finding::no_queues
                    : recorded           ? Finding::queues
                                         : Finding::not_enabled;
}

void tell_of_version(const Look &seen) {
    if (!told_of_version)
        ereport(LOG, (errmsg("the queues of database \"%s\" are not swept: extension ecto_job is "
                             "version %s there, the library is %s",
                             seen.database, seen.version, ECTO_JOB_VERSION),
                      errhint("Restart the server with the newer library.")));
    told_of_version = true;
}

void tell_of_copy(const Look &seen) {
    ereport(LOG, (errmsg("the queues of database \"%s\" are not swept: it is a copy, or restored",
                         seen.database),
                  errhint("SELECT ecto_job.enable() in this database lets them run.")));
}

TimestampTz in_ms(int64 ms) {
    return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

RoundEnd after_failed_look(const ErrorData *error) {
    if (look_failures++ == 0)
        ereport(WARNING, (errcode(error->sqlerrcode),
                          errmsg("reading the queues of database %u failed: %s", MyDatabaseId,
                                 error->message),
                          error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0));
    next_look = in_ms(std::min(retry_ms << std::min(look_failures, 10), longest_look_pause_ms));
    return {false, Hears::rings, next_look};
}

// When the queue is due, or its owner's wait ends
TimestampTz next_turn_of(const Watched *watched) {
    TimestampTz next = next_turn(watched->record);
    for (int i = 0; i < waiting_count; i++)
        if (waiting[i].owner == watched->owner)
            next = std::max(next, waiting[i].until);
    return next;
}

// Of the queues whose time has come, the one that is served before the others
Watched *next_in_turn(TimestampTz now) {
    Watched *first = nullptr;
    Candidate best{};
    for_each_watched([&](Watched *watched) {
        const TimestampTz due = next_turn_of(watched);
        if (due > now)
            return;
        const Candidate candidate{watched->owner, shares->used_by(watched->owner), due};
        if (first == nullptr || goes_before(candidate, best)) {
            first = watched;
            best = candidate;
        }
    });
    return first;
}

// But those that failed and wait. Before the first look at everything, at the heads of all, where
// the jobs are whose sessions have ended while there was no scheduler, or in a crash
void make_all_due() {
    lock_shared_state(LW_EXCLUSIVE);
    for_each_watched([](Watched *watched) {
        QueueRecord *const record = watched->record;
        if (record->failures > 0)
            return;
        record->next_sweep = record->rests_until = record->orphans_rest_until = 0;
        record->next_orphans = DT_NOBEGIN;
        record->orphans_in_head = true;
    });
    unlock_shared_state();
}

// Settings of theirs may have changed, and nothing else says when they are due
void make_polled_due() {
    for_each_watched([](Watched *watched) {
        if (!watched->is_told && watched->record->failures == 0)
            watched->record->next_sweep = 0;
    });
}

// After a step back of the clock, or a change of settings, a pause may be longer than any should be
void mind_the_clock(TimestampTz now) {
    lock_shared_state(LW_EXCLUSIVE);
    for_each_watched([now](Watched *watched) {
        QueueRecord *const record = watched->record;
        const int64 longest_ms = record->failures > 0
                                     ? record->pause_ms
                                     : std::min(record->pause_ms, full_interval_ms(watched));
        if (record->next_sweep > TimestampTzPlusMilliseconds(now, longest_ms))
            record->next_sweep = now;
    });
    unlock_shared_state();
}

// True if the clock was set back since the last call: times of before mean nothing then
bool notice_step_back() {
    const TimestampTz before = clock_seen;
    clock_seen = GetCurrentTimestamp();
    if (clock_seen >= before)
        return false;
    all_due = true;
    next_look = DT_NOBEGIN;
    return true;
}

RoundEnd deaf() {
    return {false, Hears::nothing, in_ms(retry_ms)};
}

// Before what may take long: nobody relies on being notified by us meanwhile. But where we cannot
// notify, a session's own NOTIFY would hang or fail its commit: better a late notification.
void expect_to_be_long(int slot) {
    answer(slot, announcements_wait());
}

void read_times(TimestampTz now) {
    mind_the_clock(now);
    for_each_watched([](Watched *watched) {
        take_times(watched->record);
        take_orphans(watched->record);
    });
    waiting_count = read_waiting_owners(waiting, now);
}

RoundEnd after_turns(int slot) {
    const TimestampTz now = GetCurrentTimestamp();
    answer(slot, true);
    TimestampTz next = std::min(next_look, next_announcement(now));
    for_each_watched([&](Watched *watched) { next = std::min(next, next_turn_of(watched)); });
    return {false, announcements_wait() ? Hears::times : Hears::all, next};
}

// One turn, whose time its queue's owner pays; false: the registry is to be looked at
bool take_turn_of(Watched *watched, int slot, TimestampTz now) {
    instr_time start;
    INSTR_TIME_SET_CURRENT(start);
    const TurnEnd end = take_turn(watched, known_extension, slot, due_at(watched->record, now));
    instr_time took;
    INSTR_TIME_SET_CURRENT(took);
    INSTR_TIME_SUBTRACT(took, start);
    shares->charge(watched->owner, static_cast<int64>(INSTR_TIME_GET_MICROSEC(took)));
    clean_session();
    trim_memory();
    send_rings(slot);
    if (end == TurnEnd::spoilt)
        proc_exit(0);
    MemoryContextReset(round_context);
    return end == TurnEnd::done;
}

// A batch of the queue that is next, and again, until nothing is due or something else may be
// wanted. What commits bring is read in between.
RoundEnd take_turns(int slot) {
    const TimestampTz began = GetCurrentTimestamp();
    TimestampTz read = DT_NOBEGIN;
    for (TimestampTz now = began; now < began + pass_us; now = GetCurrentTimestamp()) {
        if (read == DT_NOBEGIN || now >= read + reading_us) {
            read_times(now);
            read = now;
        }
        Watched *const watched = next_in_turn(now);
        if (watched == nullptr)
            return after_turns(slot);
        if (must_leave(slot))
            return {false, Hears::all, in_ms(retry_ms)};
        expect_to_be_long(slot);
        if (!take_turn_of(watched, slot, now)) {
            next_look = 0;
            return {false, Hears::rings, in_ms(retry_ms)};
        }
        if (notice_step_back())
            break;
    }
    return {false, Hears::all, DT_NOBEGIN};
}

// What stands in the way of taking turns; nothing if it says when to look again
std::optional<RoundEnd> look_at_registry(int slot) {
    Look seen{};
    pgstat_report_activity(STATE_RUNNING, "reading the registry of queues");
    // Who woke us has committed, but may not have sent its invalidations yet
    forget_queues();
    if (const ErrorData *const error = attempt([&] { look(&seen); }))
        return after_failed_look(error);
    look_failures = 0;
    next_look = in_ms(settings::safety_interval_ms);
    finding = seen.finding;
    switch (finding) {
    case Finding::nothing:
        return RoundEnd{true, Hears::rings, 0};
    case Finding::no_queues:
        // Whoever was started by hand is not started again by create_queue
        return RoundEnd{is_state_shared(), Hears::rings, next_look = in_ms(idle_ms)};
    case Finding::not_enabled:
        tell_of_copy(seen);
        return RoundEnd{true, Hears::rings, 0};
    case Finding::being_dropped:
        return RoundEnd{false, Hears::rings, next_look = in_ms(retry_ms)};
    case Finding::newer:
        set_working(slot, true);
        tell_of_version(seen);
        return RoundEnd{false, Hears::rings, next_look = in_ms(idle_ms)};
    case Finding::queues:
        break;
    }
    set_working(slot, false);
    make_polled_due();
    return std::nullopt;
}

void clear_round_context() {
    MemoryContextReset(round_context);
    MemoryContextSwitchTo(round_context);
}

} // namespace

void prepare_rounds() {
    prepare_limits();
    shares = new Shares;
    HASHCTL control{};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(Watched);
    watched_context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job watched queues", ALLOCSET_DEFAULT_SIZES);
    control.hcxt = watched_context;
    watched_queues =
        hash_create("ecto_job queues", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    round_context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job round", ALLOCSET_DEFAULT_SIZES);
    prepare_rings();
}

bool finds_work(int slot) {
    clear_round_context();
    const std::optional<RoundEnd> obstacle = look_at_registry(slot);
    return !obstacle || !obstacle->nothing_to_do;
}

RoundEnd last_round(int slot) {
    clear_round_context();
    answer(slot, false);
    return send_rings(slot) ? RoundEnd{true, Hears::rings, 0} : deaf();
}

RoundEnd run_round(int slot, bool look) {
    clear_round_context();
    const bool rings_sent = send_rings(slot);
    notice_step_back();
    if (look || next_look <= clock_seen) {
        // Somebody may have locked the registry
        expect_to_be_long(slot);
        const std::optional<RoundEnd> obstacle = look_at_registry(slot);
        if (obstacle)
            return rings_sent ? *obstacle : deaf();
    }
    all_due = all_due || !was_enabled;
    was_enabled = settings::enabled;
    if (finding != Finding::queues || !settings::enabled) {
        answer(slot, false);
        return rings_sent ? RoundEnd{false, Hears::rings, next_look} : deaf();
    }
    if (all_due)
        make_all_due();
    all_due = false;
    return take_turns(slot);
}

} // namespace ecto_job
