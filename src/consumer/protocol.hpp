// The consumer's half of the protocol, all of its SQL: start, complete, fail, and what a queue is.
//
// (id, lease) identifies a job that was started: both go back to the server as the text they came
// in. The queue's name is a value like any other, read by regclass under the session's search_path.
// No lock.
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
    std::optional<std::string> row; // ecto_job.job in binary form, where it was asked for
    Oid params_type = 0;
    Oid row_type = 0;
    Clock::time_point started;
    Clock::time_point lease_over; // by our clock: the server's may differ
};

struct QueueFacts {
    std::string table; // its present name: the channel
    std::chrono::milliseconds poll_interval{};
    Oid params_type = 0;
    Oid row_type = 0;
};

namespace protocol {

// Whose statements a session executes.
enum class Session {
    own,  // the program's own alone
    users // the user's, too, in transactions of which he decides
};
// Changes settings of the role, the database or PGOPTIONS that would end or slow the session. A row
// for each that was changed: name, value, value before.
Statement settings(Session session);

// One row if the extension is there. What the session starts from now on ends with it, by
// ecto_job.session_leases, where it has that setting and nobody has set it.
Statement find_extension();

Statement find_queue(const std::string &queue);
QueueFacts facts(const Result &result);

Statement start_jobs(const std::string &queue, int demand,
                     const std::optional<std::string> &timeout, bool with_row);
std::vector<Job> jobs(const Result &result, const std::string &queue, const QueueFacts &facts);

Statement complete(const Job &job);
// All of them, or none and an error; of one queue.
Statement complete(const std::vector<const Job *> &jobs);
// The row after the change; none if the job was not ours any more.
Statement fail(const Job &job, const std::string &error);

struct Failed {
    std::string state;
    std::string schedule;
};
std::optional<Failed> failed(const Result &result);

// The user's statement: $1 the params, $2 the job, if it is mentioned at all.
bool wants_row(const std::string &sql);
Statement check(const std::string &sql, const QueueFacts &facts);
Statement perform(const std::string &sql, const Job &job);

} // namespace protocol

} // namespace ecto_job::consumer
