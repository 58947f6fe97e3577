// A turn and what comes of it. See sweep.hpp.
#include "scheduler/sweep.hpp"

#include <algorithm>

#include "pg/text.hpp"
#include "queue/rows_at_fault.hpp"
#include "queue/notifications.hpp"
#include "queue/owner.hpp"
#include "queue/queue.hpp"
#include "queue/subtransaction.hpp"
#include "table/check.hpp"
#include "queue/transitions.hpp"
#include "scheduler/transaction.hpp"
#include "scheduler/time_limits.hpp"
#include "scheduler/session_guard.hpp"
#include "settings.hpp"
#include "shared/mailbox.hpp"
#include "shared/queue_records.hpp"
#include "shared/scheduler_slots.hpp"

namespace ecto_job {

namespace {

// What a commit may take, once the sweep is done: it waits for NOTIFY's lock if a trigger has
// notified
constexpr int commit_limit_ms = 1000;
constexpr int64 first_lock_pause_ms = 10;
constexpr int64 longest_lock_pause_ms = 1000;
// A queue without work has no use for its plans until it is swept again; if that is soon, they stay
constexpr int64 longest_kept_idle_ms = 10'000;
// After a row was at fault: others of its kind may be about to come
constexpr int64 careful_ms = 60'000;

constexpr int64 first_stuck_pause_ms = 1000;
// The other connections of the consumer, which may have jobs locked, end at the same time
constexpr int64 first_stuck_orphans_pause_ms = 10;
constexpr int64 longest_stuck_pause_ms = 60'000;

// full: there may be more to move; moved: there is not, but no look ahead yet
enum class BatchEnd { looked_ahead, moved, full, locked, gone, interrupted };

struct Moved {
    int64 activated, expired, retried, failed;
};

int64 sum_of(const Moved &moved) {
    return moved.activated + moved.expired + moved.retried + moved.failed;
}

void add(Moved *moved, const EndedLeases &ended) {
    moved->expired += ended.available;
    moved->retried += ended.retried;
    moved->failed += ended.failed;
}

struct Batch {
    BatchEnd end;
    Moved moved;
    TimestampTz next_due, next_expiry; // looked_ahead, as far as it was asked for
    JobKey leases_to;                  // the same; all that next_expiry is of stand up to here
    TimestampTz next_orphans;          // 0: there are more, or it was not asked for
    bool announces;
};

int64 batch_size = first_batch; // of the queue that has its turn
Oid turn_of = InvalidOid;       // its owner
enum class Phase { sweep, commit };
Phase phase;

// What was registered was such a table; its owner may have changed it since
void require_plain_table(Relation table) {
    if (const char *const fault = fault_of_table(table))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                 errmsg("table \"%s\" is not swept: %s", RelationGetRelationName(table), fault)));
}

int64 longer_pause(int64 pause_ms, int64 first_ms) {
    return std::clamp(2 * pause_ms, first_ms, longest_stuck_pause_ms);
}

// True if there are more. Those that are locked wait, longer each time.
bool give_back(Watched *watched, Queue *queue, const JobKey &to, TimestampTz now, Batch *batch) {
    ArrayType *const ended = ended_sessions(queue, to);
    if (ended != nullptr) {
        const EndedLeases given =
            give_back_jobs(queue, ended, to, now, batch_size, watched->careful_until > now);
        add(&batch->moved, given);
        if (given.count() >= batch_size)
            return true;
    }
    const bool stuck = ended != nullptr && ended_sessions(queue, to) != nullptr;
    watched->stuck_orphans_ms =
        stuck ? longer_pause(watched->stuck_orphans_ms, first_stuck_orphans_pause_ms) : 0;
    batch->next_orphans =
        stuck ? TimestampTzPlusMilliseconds(now, watched->stuck_orphans_ms) : DT_NOEND;
    return false;
}

// Up to where leases are looked for: a look at everything finds those, too, that nobody told of
JobKey end_of_leases(const Watched *watched, Due due) {
    return due.everything ? highest_key : watched->record->leases_to;
}

// True if there may be more. Half of the room is for each, so that neither waits until nothing is
// left of the other.
bool sweep(Watched *watched, Queue *queue, Due due, TimestampTz now, Moved *moved) {
    const bool guarded = watched->careful_until > now;
    int64 room = batch_size - sum_of(*moved);
    bool full = false;
    if (due.expire) {
        const int64 limit = due.activate ? (room + 1) / 2 : room;
        const EndedLeases ended =
            end_expired_leases(queue, end_of_leases(watched, due), now, limit, guarded);
        add(moved, ended);
        room -= ended.count();
        full = ended.count() >= limit;
    }
    if (due.activate && room > 0) {
        moved->activated = static_cast<int64>(activate_scheduled_jobs(queue, now, room, guarded));
        full = full || moved->activated >= room;
    }
    if (watched->record->sweeps_left_out.count > 0 && !leaves_out(queue))
        note_left_out(queue->oid, false, 0, nullptr, true);
    return full;
}

// When there is something to do after this sweep. What was due already is locked by somebody, or
// kept by a trigger or policy: it waits, longer each time, and keeps nothing else waiting.
template <typename F> TimestampTz next_time(F next, TimestampTz swept, int64 *pause_ms) {
    const TimestampTz first = next(DT_NOBEGIN).value_or(DT_NOEND);
    const bool stuck = first <= swept;
    *pause_ms = stuck ? longer_pause(*pause_ms, first_stuck_pause_ms) : 0;
    return stuck ? std::min(TimestampTzPlusMilliseconds(swept, *pause_ms),
                            next(swept + 1).value_or(DT_NOEND))
                 : first;
}

// True if there are jobs that nobody may have been told of
bool look_ahead(Watched *watched, Queue *queue, Due due, TimestampTz swept, Batch *batch) {
    if (due.activate)
        batch->next_due = next_time([&](TimestampTz from) { return next_due(queue, from); }, swept,
                                    &watched->stuck_due_ms);
    if (due.expire) {
        const JobKey to = end_of_leases(watched, due);
        batch->next_expiry =
            next_time([&](TimestampTz from) { return next_expiry(queue, to, from); }, swept,
                      &watched->stuck_expiry_ms);
        batch->leases_to = batch->next_expiry == DT_NOEND ? lowest_key
                           : to == highest_key            ? last_held(queue)
                                                          : to;
    }
    return due.everything && first_available(queue, lowest_key);
}

struct Assignment {
    Due due;
    Oid extension;
    int limit_ms;
    TimestampTz now;      // of the sweeps, or of the last if it only looks ahead
    bool look_ahead_only; // there is nothing more to move
};

// Those whom nobody knows of are sought everywhere
JobKey end_of_orphans(const Watched *watched, Queue *queue, Due due) {
    if (due.everything)
        return highest_key;
    return watched->record->orphans_in_head ? end_of_head(queue) : watched->record->orphans_to;
}

// What moves is committed and announced before anything else is looked at
BatchEnd move(Watched *watched, Queue *queue, const Assignment &assignment, Batch *batch) {
    const Due due = assignment.due;
    const TimestampTz now = assignment.now;
    if (due.orphans && give_back(watched, queue, end_of_orphans(watched, queue, due), now, batch))
        return BatchEnd::full;
    if (!due.activate && !due.expire)
        return BatchEnd::looked_ahead;
    if (sweep(watched, queue, due, now, &batch->moved))
        return BatchEnd::full;
    return sum_of(batch->moved) == 0 ? BatchEnd::looked_ahead : BatchEnd::moved;
}

// Takes the present name, which may have changed since the last turn
void set_name(Watched *watched, const char *name) {
    if (strcmp(watched->name, name) == 0)
        return;
    char *const before = watched->name;
    watched->name = MemoryContextStrdup(GetMemoryChunkContext(before), name);
    pfree(before);
}

BatchEnd run_batch(Watched *watched, const Assignment &assignment, Batch *batch) {
    if (!lock_extension(assignment.extension))
        return BatchEnd::interrupted;
    if (!ConditionalLockRelationOid(watched->queue, RowExclusiveLock))
        return BatchEnd::locked;
    Relation table = try_relation_open(watched->queue, NoLock);
    if (table == nullptr)
        return BatchEnd::gone;
    require_plain_table(table);
    Queue *const queue = find_queue(watched->queue);
    watched->poll_interval_ms = std::max<int64>(queue->poll_interval_ms, 1);
    set_name(watched, qualified_name(queue));
    pgstat_report_activity(STATE_RUNNING, psprintf("sweeping queue %s", watched->name));

    turn_of = watched->owner = table->rd_rel->relowner;
    const FormerSelf self = become_owner(watched->owner, watched->queue);
    phase = Phase::sweep;
    limit_time(assignment.limit_ms);
    limit_process(2 * assignment.limit_ms);
    const BatchEnd end = assignment.look_ahead_only ? BatchEnd::looked_ahead
                                                    : move(watched, queue, assignment, batch);
    batch->announces = batch->moved.activated + batch->moved.expired > 0;
    if (end == BatchEnd::looked_ahead)
        batch->announces =
            look_ahead(watched, queue, assignment.due, assignment.now, batch) || batch->announces;
    become_self(self);
    if (batch->announces && !watched->is_told)
        send_notice(queue, Notice::available, ""); // it has no flag; kept until the commit
    phase = Phase::commit;
    limit_time(commit_limit_ms);
    relation_close(table, NoLock);
    return end;
}

// Not by the clock, which may be set meanwhile
int64 us_since(instr_time start) {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_SUBTRACT(now, start);
    return static_cast<int64>(INSTR_TIME_GET_MICROSEC(now));
}

void log_turn(const Watched *watched, const Moved &moved, int64 ms) {
    const bool wanted = settings::log_min_duration_ms > 0
                            ? ms >= settings::log_min_duration_ms
                            : settings::log_min_duration_ms == 0 && sum_of(moved) > 0;
    if (wanted)
        ereport(LOG, (errmsg("swept queue \"%s\" in " INT64_FORMAT " ms: " INT64_FORMAT
                             " jobs activated, " INT64_FORMAT " expired, " INT64_FORMAT " failed",
                             watched->name, ms, moved.activated, moved.expired + moved.retried,
                             moved.failed)));
}

void set_next_sweep(QueueRecord *record, TimestampTz now, int64 pause_ms) {
    record->pause_ms = pause_ms;
    record->next_sweep = TimestampTzPlusMilliseconds(now, pause_ms);
}

// Counts the failure; true if it is to be logged: the first of its kind since the queue worked
bool count_failure(Watched *watched, int sqlstate, const char *message) {
    QueueRecord *const record = watched->record;
    const TimestampTz now = GetCurrentTimestamp();
    lock_shared_state(LW_EXCLUSIVE);
    const bool news = record->failures == 0 || record->sqlstate != sqlstate;
    record->failures = std::min(record->failures + 1, 1000);
    record->sqlstate = sqlstate;
    record->in_turn = false;
    record->last_sweep = now;
    set_next_sweep(record, now, pause_ms_after(record->failures));
    copy_shown_text(record->error, message, sizeof record->error);
    unlock_shared_state();
    return news;
}

// What to do about it. PostgreSQL's own hint stands first, if there is one.
const char *hint_for(const ErrorData *error) {
    switch (error->sqlerrcode) {
    case ERRCODE_UNDEFINED_TABLE:
    case ERRCODE_UNDEFINED_FUNCTION:
    case ERRCODE_UNDEFINED_OBJECT:
        return psprintf("%s%sA sweep runs with search_path = pg_catalog, pg_temp. The table's "
                        "triggers and other code must name the schema of what they use, or be "
                        "functions with a SET search_path of their own.",
                        error->hint != nullptr ? error->hint : "",
                        error->hint != nullptr ? " " : "");
    default:
        return error->hint != nullptr
                   ? error->hint
                   : "The other queues are swept as before; this one is tried again, and a line "
                     "will say when it works.";
    }
}

// What failed; if its time was over, which time that was
const char *text_of(const ErrorData *error) {
    if (error->sqlerrcode != ERRCODE_QUERY_CANCELED || !was_over_limit())
        return error->message;
    if (phase == Phase::sweep)
        return psprintf("it took longer than ecto_job.sweep_timeout, %d ms",
                        settings::sweep_timeout_ms);
    return psprintf("its commit took longer than %d ms; a trigger of the table may notify, and "
                    "wait for NOTIFY's lock",
                    commit_limit_ms);
}

void note_failure(Watched *watched, const ErrorData *error) {
    const char *const message = text_of(error);
    if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && was_over_limit() && phase == Phase::sweep) {
        if (watched->batch.jobs() == 1)
            leave_out_slow(watched->queue, watched->name);
        watched->batch.timed_out();
    }
    watched->turn_us = 0;
    if (!count_failure(watched, error->sqlerrcode, message))
        return;
    ereport(WARNING, (errcode(error->sqlerrcode),
                      errmsg("sweep of queue \"%s\" failed: %s", watched->name, message),
                      error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0,
                      errhint("%s", hint_for(error)),
                      error->context != nullptr ? errcontext("%s", error->context) : 0));
}

// A lock may be that of the transaction that woke us, which is about to end, or a long one.
int64 pause_for_lock(Watched *watched) {
    watched->locked_ms =
        std::clamp(2 * watched->locked_ms, first_lock_pause_ms, longest_lock_pause_ms);
    return watched->locked_ms;
}

bool is_for_orphans(Due due) {
    return due.orphans && !due.everything;
}

void set_next_orphans(QueueRecord *record, Due due, TimestampTz next) {
    record->next_orphans = next;
    if (next == DT_NOEND)
        record->orphans_to = lowest_key;
    else if (due.everything)
        record->orphans_to = highest_key;
    if (next == DT_NOEND || due.everything)
        record->orphans_in_head = false;
}

// True if the batch that failed is to be done again with care; it was not, and a row may be at
// fault
bool shall_be_careful(Watched *watched, const ErrorData *error) {
    const TimestampTz now = GetCurrentTimestamp();
    if (watched->careful_until > now || !is_row_error(error->sqlerrcode))
        return false;
    watched->careful_until = TimestampTzPlusMilliseconds(now, careful_ms);
    return true;
}

// The last batch's, or that of a turn of many batches when nothing is left, or it has used its time
int64 rest_after(Watched *watched, const Batch &last, int64 took_us) {
    watched->turn_us += took_us;
    if (last.end == BatchEnd::full &&
        watched->turn_us < settings::sweep_timeout_ms * INT64CONST(500))
        return 0;
    const int64 rest_us = watched->turn_us;
    watched->turn_us = 0;
    return rest_us;
}

void note_success(Watched *watched, int64 took_us, Due due, const Batch &last) {
    QueueRecord *const record = watched->record;
    const TimestampTz now = GetCurrentTimestamp();
    const bool locked = last.end == BatchEnd::locked;
    const bool recovered = record->failures > 0 && !locked;
    // A queue rests for as long as its turn took: it never has more than half of the time
    int64 rest_us = rest_after(watched, last, took_us);
    if (locked)
        rest_us = pause_for_lock(watched) * 1000;
    else if (last.end == BatchEnd::gone) // the registry will say so
        rest_us = longest_lock_pause_ms * 1000;
    lock_shared_state(LW_EXCLUSIVE);
    record->in_turn = false;
    record->locked = locked;
    (is_for_orphans(due) ? record->orphans_rest_until : record->rests_until) = now + rest_us;
    if (!locked) {
        watched->locked_ms = 0;
        record->last_sweep = now;
        record->failures = 0;
    }
    if (last.end == BatchEnd::looked_ahead) {
        record->next_due = due.activate ? last.next_due : record->next_due;
        record->next_expiry = due.expire ? last.next_expiry : record->next_expiry;
        record->leases_to = due.expire ? last.leases_to : record->leases_to;
        if (due.everything)
            set_next_sweep(record, now, full_interval_ms(watched));
    }
    if (last.next_orphans != 0)
        set_next_orphans(record, due, last.next_orphans);
    unlock_shared_state();
    if (recovered)
        ereport(LOG, (errmsg("sweep of queue \"%s\" works again", watched->name)));
}

void count_batch(QueueRecord *record, const Moved &moved, int64 took_us) {
    lock_shared_state(LW_EXCLUSIVE);
    record->batch_us = took_us;
    record->batch_jobs = sum_of(moved);
    record->activated += moved.activated;
    record->expired += moved.expired + moved.retried;
    record->failed += moved.failed;
    unlock_shared_state();
}

TimestampTz next_orphans_turn(const QueueRecord *record) {
    return std::max(record->orphans_rest_until, record->next_orphans);
}

void mark_turn(QueueRecord *record, bool in_turn) {
    lock_shared_state(LW_EXCLUSIVE);
    record->in_turn = in_turn;
    record->turn_began = GetCurrentTimestamp();
    unlock_shared_state();
}

// One transaction of a turn. What it makes AVAILABLE is announced after it.
ErrorData *run_transaction(Watched *watched, const Assignment &assignment, Batch *batch) {
    begin_trying();
    ErrorData *const error = attempt([&] { batch->end = run_batch(watched, assignment, batch); });
    settle_notices(error == nullptr);
    if (error == nullptr && batch->announces)
        ring({.queue = watched->queue, .available = true});
    return error;
}

// What a further transaction of a turn may take: what is left of the time for one, at least half
int time_left_ms(instr_time start) {
    return std::max(settings::sweep_timeout_ms - static_cast<int>(us_since(start) / 1000),
                    settings::sweep_timeout_ms / 2);
}

// The first transaction of a turn. If a row may be at fault, it is done again with care.
ErrorData *move_jobs(Watched *watched, Assignment assignment, instr_time start, Batch *batch) {
    ErrorData *error = run_transaction(watched, assignment, batch);
    if (error != nullptr && shall_be_careful(watched, error)) {
        *batch = {};
        assignment.limit_ms = time_left_ms(start);
        error = run_transaction(watched, assignment, batch);
    }
    if (error != nullptr)
        *batch = {};
    return error;
}

// True if it is to be replaced
bool has_spoilt_session(Watched *watched, const Leftovers &before) {
    const Excess excess = note_leftovers(watched->owner, before);
    if (excess == Excess::none)
        return false;
    const bool settings = excess == Excess::settings;
    const char *const message = settings
                                    ? "its code leaves settings behind in the scheduler's session"
                                    : "its code leaves memory behind in the scheduler's session";
    if (count_failure(watched,
                      settings ? ERRCODE_CONFIGURATION_LIMIT_EXCEEDED : ERRCODE_OUT_OF_MEMORY,
                      message))
        ereport(WARNING,
                (errcode(settings ? ERRCODE_CONFIGURATION_LIMIT_EXCEEDED : ERRCODE_OUT_OF_MEMORY),
                 errmsg("sweep of queue \"%s\" failed: %s", watched->name, message),
                 settings
                     ? errdetail("A custom setting stays defined for as long as the process lives.")
                     : errdetail("What a language has compiled of a function, or keeps for its "
                                 "session, stays for as long as the process lives."),
                 settings
                     ? errhint("A trigger of the table, or a function that it calls, should set "
                               "the same few settings each time.")
                     : errhint("A trigger of the table, or a function that it calls, should not "
                               "create functions each time.")));
    return is_state_shared(); // else nobody would start another
}

} // namespace

Oid owner_in_turn() {
    return turn_of;
}

bool lock_extension(Oid extension) {
    return ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) &&
           get_extension_oid("ecto_job", true) == extension;
}

Due due_at(const QueueRecord *record, TimestampTz now) {
    const bool everything = record->next_sweep <= now;
    if (record->failures > 0)
        return {everything, everything, everything, everything};
    // Alone, and however long the queue has to rest: what is quick does not wait for what is not
    if (next_orphans_turn(record) <= now)
        return {false, false, true, false};
    if (record->rests_until > now)
        return {false, false, false, false};
    return {everything || record->next_due <= now, everything || record->next_expiry <= now,
            everything, everything};
}

TimestampTz next_turn(const QueueRecord *record) {
    if (record->failures > 0)
        return record->next_sweep;
    return std::min(next_orphans_turn(record),
                    std::max(record->rests_until, std::min({record->next_sweep, record->next_due,
                                                            record->next_expiry})));
}

int64 full_interval_ms(const Watched *watched) {
    return watched->is_told ? settings::safety_interval_ms : watched->poll_interval_ms;
}

TurnEnd take_turn(Watched *watched, Oid extension, int slot, Due due) {
    instr_time start;
    INSTR_TIME_SET_CURRENT(start);
    Batch moving{};
    const Leftovers before = leftovers();
    mark_turn(watched->record, true);
    turn_of = watched->owner;
    batch_size = watched->batch.jobs();
    const TimestampTz swept = GetCurrentTimestamp();
    ErrorData *error = move_jobs(
        watched, {due, extension, settings::sweep_timeout_ms, swept, false}, start, &moving);
    const int64 took_us = us_since(start);
    Batch last = moving;
    if (error == nullptr && moving.end == BatchEnd::moved && !must_leave(slot)) {
        last.moved = {};
        error = run_transaction(watched, {due, extension, time_left_ms(start), swept, true}, &last);
    }
    count_batch(watched->record, moving.moved, us_since(start));
    if (error == nullptr && moving.end != BatchEnd::locked)
        watched->batch.finished(sum_of(moving.moved), took_us);
    if (error != nullptr)
        note_failure(watched, error);
    else if (last.end == BatchEnd::interrupted)
        mark_turn(watched->record, false);
    else
        note_success(watched, us_since(start), due, last);
    log_turn(watched, moving.moved, us_since(start) / 1000);
    if (due.everything && sum_of(moving.moved) == 0 &&
        full_interval_ms(watched) > longest_kept_idle_ms)
        free_queue(watched->queue);
    if (has_spoilt_session(watched, before))
        return TurnEnd::spoilt;
    turn_of = InvalidOid;
    return last.end == BatchEnd::interrupted || must_leave(slot) ? TurnEnd::interrupted
                                                                 : TurnEnd::done;
}

void note_death(Watched *watched) {
    if (count_failure(watched, ERRCODE_ADMIN_SHUTDOWN, "the scheduler ended during its sweep"))
        ereport(
            WARNING,
            (errcode(ERRCODE_ADMIN_SHUTDOWN),
             errmsg("sweep of queue \"%s\" failed: the scheduler ended during it", watched->name),
             errhint("A sweep that does not stop at twice ecto_job.sweep_timeout is "
                     "ended with its scheduler; a trigger of the table may be slow.")));
}

} // namespace ecto_job
