// The consumer's SQL: start, extend, complete, fail, snooze, and the properties of a queue.
//
// (id, lease) identifies a started job; both are sent back as the text in which they came. The
// queue's name is a parameter, which regclass resolves by the session's search_path.
#pragma once

#include "consumer/poller.hpp"
#include "consumer/result.hpp"
#include "consumer/statement.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace ecto_job::consumer {

struct Job {
    std::string queue;
    std::string id;
    std::string lease;
    std::string attempt;
    std::string max_attempts;
    std::string params; // JSON, or bytes
    bool binary = false;
    std::optional<std::string> meta;
    std::optional<std::string> row; // ecto_job.job in binary form, if requested
    Oid params_type = 0;
    Oid row_type = 0;
    Clock::time_point started;
    Clock::time_point lease_over; // by this machine's clock, which may differ from the server's
};

struct QueueFacts {
    Oid oid = 0;
    std::string table; // the table's present name, which is the channel
    std::chrono::milliseconds poll_interval{};
    bool may_wait = true; // commits wake this role's sessions that wait for the queue
    Oid params_type = 0;
    Oid row_type = 0;
};

namespace protocol {

// The kind of a session: whose statements it executes.
enum class Session {
    own,  // only the program's own
    users // the user's too, under the isolation level of the user's role
};
// Returns a statement that changes settings which would end or slow the session. Its result has a
// row for each changed setting: name, value, earlier value.
Statement settings(Session session);

// What the database's version of the extension has.
struct Features {
    bool has_extend_lease = false; // and snooze_job and fail_job's retry: version 0.3.0
    bool wakes_waiters = false;    // has wait_any, and the library is preloaded
};

// Returns a statement that finds the extension. The statement also switches
// ecto_job.session_leases on, if the setting exists and has its default.
Statement find_extension();
// Returns nullopt if the database does not have the extension.
std::optional<Features> features(const Result &result);

Statement find_queue(const std::string &queue);
QueueFacts facts(const Result &result);

Statement start_jobs(const std::string &queue, int demand,
                     const std::optional<std::string> &timeout, bool with_row);
// Returns the start as a statement whose transaction commits without waiting for the disk or for a
// standby. The statement must be alone in its transaction.
Statement committed_asynchronously(Statement start);
std::vector<Job> jobs(const Result &result, const std::string &queue, const QueueFacts &facts);

// The most queues that a session can wait for.
inline constexpr std::size_t most_waited_queues = 16;
// Waits until one of the queues has a job, at most for `timeout`.
Statement wait(const std::vector<std::string> &queues, std::chrono::milliseconds timeout);
// Returns the queue that has a job, by its OID; nullopt if none has.
std::optional<Oid> available_queue(const Result &result);

Statement complete(const Job &job);
// Completes all jobs, which are of one queue, or none of them with an error.
Statement complete(const std::vector<const Job *> &jobs);
// Extends the job's lease to this length from now, or to nothing shorter than it has.
Statement extend(const Job &job, std::chrono::milliseconds length);
// Returns the lease's new end; nullopt if the job is lost or cancelled.
std::optional<Clock::time_point> lease_over(const Result &result);

// fail and snooze have a result with the changed row, or with none if the job is not held any more.
// retry = false: the job is FAILED whatever its attempt.
Statement fail(const Job &job, const std::string &error, bool retry);
// Puts the job back without counting its attempt. No delay: it is AVAILABLE at once.
Statement snooze(const Job &job, std::chrono::seconds delay);

struct Changed {
    std::string state;
    std::string schedule;
};
std::optional<Changed> changed(const Result &result);

// The user's statement has $1, the params, and may have $2, the job.
bool wants_row(const std::string &sql);
Statement check(const std::string &sql, const QueueFacts &facts);
Statement perform(const std::string &sql, const Job &job);

} // namespace protocol

} // namespace ecto_job::consumer
