// Claimer prepares each queue step by step. Each call of prepare() sends the first statement that
// is missing, so that reconnects and polls need no sequence of their own.
//
// LISTEN comes before a claim, so that a job enqueued between the two causes a notification. A wait
// needs no such order, since it searches for a job itself. A claim that returned as many jobs as
// requested leaves its queue due. References to queues stay valid, since the list never changes.
#include "consumer/claimer.hpp"

#include "consumer/text.hpp"

#include <algorithm>
#include <spdlog/spdlog.h>
#include <utility>

namespace ecto_job::consumer {

namespace {

constexpr auto pause_after_nothing = std::chrono::milliseconds(10);
// Longer conflict pauses are logged as warnings
constexpr auto long_conflict = std::chrono::milliseconds(500);
// With --no-flush a job may have crashed the server so soon after its start that the start was
// lost. When the program has connected again, starts are durable for this time, so that the job's
// attempts are counted and come to an end.
constexpr auto time_of_durable_starts = std::chrono::minutes(1);

} // namespace

Claimer::Claimer(const Options &options, Connection &connection, Shutdown &shutdown, TakeJobs take)
    : options_(options), connection_(connection), shutdown_(shutdown), take_(std::move(take)),
      idle_wait_(connection, [this](Oid queue) { found_job(queue); }) {
    for (const std::string &name : options.queues)
        queues_.push_back({.name = name});
    connection_.on_connected = [this] { start_over(); };
    connection_.on_notification = [this](std::string_view channel) { notified(channel); };
}

void Claimer::start_over() {
    if (has_claimed_)
        starts_are_durable_until_ = Clock::now() + time_of_durable_starts;
    extension_found_ = false;
    idle_wait_.start_over();
    for (Queue &queue : queues_) {
        queue.known = queue.listening = queue.checked = false;
        queue.due = true;
    }
}

void Claimer::notified(std::string_view channel) {
    for (Queue &queue : queues_)
        if (queue.facts.table == channel)
            queue.due = true;
}

void Claimer::recheck_all() {
    for (Queue &queue : queues_)
        queue.due = true;
}

bool Claimer::found_nothing() const {
    return connection_.idle() && std::none_of(queues_.begin(), queues_.end(),
                                              [](const Queue &queue) { return queue.due; });
}

void Claimer::step(Clock::time_point now, std::size_t room, bool is_needed) {
    if (shutdown_.requested() || room < room_of_wait_)
        idle_wait_.end(now);
    if (shutdown_.requested())
        return;
    poll(now);
    // While there is no room for another job it need not begin to LISTEN
    listens_ = !can_wait() || (is_needed && (room > 0 || listens_));
    for (Queue &queue : queues_)
        if (connection_.idle() && now >= queue.not_before && !prepared(queue))
            prepare(queue);
    if (connection_.idle())
        send_next(now, room);
}

// Makes a claim due on the queues whose time has come.
void Claimer::poll(Clock::time_point now) {
    for (Queue &queue : queues_) {
        if (now >= queue.next_poll) {
            queue.known = false;
            queue.due = true;
            queue.next_poll = Clock::time_point::max();
        }
    }
}

void Claimer::send_next(Clock::time_point now, std::size_t room) {
    if (const auto claim = next_claim(now, room))
        connection_.send({transaction(*claim)});
    else if (!listens_ && room > 0)
        wait(now, room);
}

// Returns the transaction of a claim alone. With --no-flush it is not durable: if a crash of the
// server or a failover loses it, the job is AVAILABLE, as if it had not been started.
Connection::Transaction Claimer::transaction(const Claim &claim) const {
    const bool is_durable = options_.flush || Clock::now() < starts_are_durable_until_;
    return {{is_durable ? claim.statement : protocol::committed_asynchronously(claim.statement)},
            [claim](const Results &results) { claim.on_result(results.back()); }};
}

// Returns whether the role is woken on all queues, as far as is known.
bool Claimer::can_wait() const {
    return !options_.drain && queues_.size() <= protocol::most_waited_queues &&
           features_.wakes_waiters && idle_wait_.is_possible() &&
           std::all_of(queues_.begin(), queues_.end(),
                       [](const Queue &queue) { return queue.facts.may_wait; });
}

// Waits for a job of the queues on which no claim is due, even after a pause. One queue can be
// claimed from in the same round trip. A wait needs no pause of its own: the server pauses if it
// finds again and again a job that claims do not get.
void Claimer::wait(Clock::time_point now, std::size_t room) {
    std::vector<Queue *> queues;
    std::vector<std::string> names;
    auto until = Clock::time_point::max();
    for (Queue &queue : queues_) {
        const bool waits = prepared(queue) && !queue.due;
        until = std::min(until, waits ? queue.next_poll : queue.not_before);
        if (waits) {
            queues.push_back(&queue);
            names.push_back(queue.name);
        }
    }
    if (queues.empty() || until <= now)
        return;
    bool listens = false;
    for (Queue &queue : queues_)
        listens = std::exchange(queue.listening, false) || listens;
    room_of_wait_ = room;
    const bool alone = queues_.size() == 1;
    idle_wait_.begin(names, std::chrono::ceil<std::chrono::milliseconds>(until - now), listens,
                     alone ? std::optional(transaction(claim(*queues.front(), room)))
                           : std::nullopt);
}

void Claimer::found_job(Oid oid) {
    bool is_known = false;
    for (Queue &queue : queues_) {
        const bool is_its = queue.facts.oid == oid;
        is_known = is_known || is_its;
        queue.due = queue.due || (is_its && !claiming_);
    }
    if (is_known)
        return;
    for (Queue &queue : queues_) { // a name means another table by now
        queue.known = false;
        queue.due = true;
    }
}

std::optional<Claim> Claimer::next_claim(Clock::time_point now, std::size_t room) {
    if (shutdown_.requested() || claiming_ || room == 0)
        return std::nullopt;
    for (std::size_t i = 0; i < queues_.size(); i++) {
        Queue &queue = queues_[(next_queue_ + i) % queues_.size()];
        if (queue.due && now >= queue.not_before && prepared(queue)) {
            next_queue_ = (next_queue_ + i + 1) % queues_.size();
            return claim(queue, room);
        }
    }
    return std::nullopt;
}

void Claimer::watch(Poller &poller, std::size_t room) const {
    idle_wait_.watch(poller);
    if (shutdown_.requested() || !connection_.idle())
        return;
    for (const Queue &queue : queues_) {
        poller.wake_at(queue.next_poll);
        if (!prepared(queue) || (queue.due && room > 0))
            poller.wake_at(queue.not_before);
    }
}

bool Claimer::prepared(const Queue &queue) const {
    return extension_found_ && queue.known && (queue.listening || !listens_) && queue.checked;
}

void Claimer::prepare(Queue &queue) {
    if (!extension_found_)
        send(queue, {protocol::find_extension()}, [this](const Result &result) {
            const auto found = protocol::features(result);
            extension_found_ = found.has_value();
            if (found)
                features_ = *found;
            else
                shutdown_.fatal("the extension \"ecto_job\" is not in this database\n"
                                "HINT:  CREATE EXTENSION ecto_job;");
        });
    else if (!queue.known)
        send(queue, {protocol::find_queue(queue.name)},
             [this, &queue](const Result &result) { found(queue, result); });
    else if (!queue.listening && listens_)
        send(queue, {{"LISTEN " + connection_.identifier(queue.facts.table)}},
             [&queue](const Result &) { queue.listening = queue.due = true; });
    else
        send(queue, checks(queue), [&queue](const Result &) { queue.checked = true; });
}

// Returns a claim of no jobs, which checks --timeout, and a check of --sql. Errors of these
// statements are fatal; a later claim may also fail because of a row.
std::vector<Statement> Claimer::checks(const Queue &queue) const {
    std::vector<Statement> statements{protocol::start_jobs(queue.name, 0, options_.timeout, false)};
    if (options_.sql)
        statements.push_back(protocol::check(*options_.sql, queue.facts));
    return statements;
}

void Claimer::found(Queue &queue, const Result &result) {
    if (result.rows() == 0) // the name is the OID of no table
        return shutdown_.fatal("queue \"" + queue.name + "\" does not exist");
    QueueFacts facts = protocol::facts(result);
    queue.listening = queue.listening && facts.table == queue.facts.table;
    queue.facts = std::move(facts);
    queue.known = true;
    queue.next_poll = Clock::now() + queue.facts.poll_interval;
}

Claim Claimer::claim(Queue &queue, std::size_t room) {
    const int demand = options_.batch.value_or(static_cast<int>(room));
    const bool with_row = options_.sql && protocol::wants_row(*options_.sql);
    // Reset before the claim is sent: a notification that arrives before its result must count
    queue.due = false;
    claiming_ = true;
    return {
        protocol::start_jobs(queue.name, demand, options_.timeout, with_row),
        [this, &queue, demand](const Result &result) { on_claim_result(queue, result, demand); },
        [this, &queue] {
            claiming_ = false;
            queue.due = true;
        }};
}

void Claimer::on_claim_result(Queue &queue, const Result &result, int demand) {
    claiming_ = false;
    const auto verdict = result.verdict();
    if (verdict == Verdict::ok)
        return claimed(queue, result, demand);
    // A server that was writable before is expected to become writable again.
    failed(queue, result,
           verdict == Verdict::refused || (verdict == Verdict::read_only && has_claimed_));
}

void Claimer::claimed(Queue &queue, const Result &result, int demand) {
    has_claimed_ = true;
    queue.errors.reset();
    queue.conflicts.reset();
    if (result.rows() == demand)
        queue.due = true;
    else if (result.rows() == 0)
        queue.not_before = Clock::now() + pause_after_nothing;
    take_(protocol::jobs(result, queue.name, queue.facts));
}

void Claimer::send(Queue &queue, const std::vector<Statement> &statements, const OnResult &take) {
    connection_.send(statements, [this, &queue, take](const Results &results) {
        const Result &last = results.back();
        if (last.ok())
            take(last);
        else
            failed(queue, last, false);
    });
}

void Claimer::failed(Queue &queue, const Result &result, bool may_pass) {
    queue.due = true;
    switch (result.verdict()) {
    case Verdict::lost:
        return connection_.drop(result.message());
    case Verdict::conflict: {
        const auto pause = queue.conflicts.next();
        queue.not_before = Clock::now() + pause;
        return spdlog::log(pause < long_conflict ? spdlog::level::debug : spdlog::level::warn,
                           "{}: next try in {} ms: {}", queue.name, pause.count(),
                           one_line(result.message()));
    }
    case Verdict::transient:
        return back_off(queue, result);
    case Verdict::read_only:
        if (!may_pass)
            return shutdown_.fatal(
                queue.name + ": " + result.message() +
                "\nHINT:  This is no standby: default_transaction_read_only is on for the role, the"
                " database or the server. Turn it off there, or for this program alone by"
                " PGOPTIONS='-c default_transaction_read_only=off'.");
        return back_off(queue, result);
    default:
        if (!may_pass)
            return shutdown_.fatal(queue.name + ": " + result.message());
        return back_off(queue, result);
    }
}

void Claimer::back_off(Queue &queue, const Result &result) {
    if (shutdown_.requested()) // no next try; the claim may have been cancelled
        return;
    const auto pause = queue.errors.next();
    queue.not_before = Clock::now() + pause;
    spdlog::warn("{}: next try in {:.1f} s: {}", queue.name,
                 std::chrono::duration<double>(pause).count(), one_line(result.message()));
}

} // namespace ecto_job::consumer
