// Exec starts programs and judges their exit statuses.
//
// When descriptors, processes or memory run out, a job loses no attempt: it waits under its lease,
// and no more jobs are claimed than can run. Any other reason fails the job. A program that was
// signalled when its lease ended may still succeed: its exit status counts, and the lease decides
// whether the job is still held.
#include "consumer/exec.hpp"

#include "consumer/report.hpp"
#include "consumer/trace.hpp"

#include <csignal>
#include <spdlog/spdlog.h>
#include <system_error>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Exit statuses of <sysexits.h>, which --help names
constexpr int data_error = 65;        // EX_DATAERR: no further attempt can succeed
constexpr int temporary_failure = 75; // EX_TEMPFAIL: the attempt does not count

// Time after a shortage for which no more programs run at once than did then
constexpr auto shortage_pause = std::chrono::seconds(5);

bool is_shortage(const std::error_code &code) {
    return code == std::errc::too_many_files_open ||
           code == std::errc::too_many_files_open_in_system ||
           code == std::errc::resource_unavailable_try_again ||
           code == std::errc::not_enough_memory;
}

std::vector<std::string> variables(const Job &job) {
    return {
        "ECTO_JOB_ID=" + job.id,
        "ECTO_JOB_ATTEMPT=" + job.attempt,
        "ECTO_JOB_MAX_ATTEMPTS=" + job.max_attempts,
        "ECTO_JOB_QUEUE=" + job.queue,
    };
}

} // namespace

Exec::Exec(const Options &options, const protocol::Features &features, Connection &connection,
           Outcomes &outcomes, std::function<void()> finished)
    : options_(options), features_(features), capacity_(static_cast<std::size_t>(options.jobs)),
      outcomes_(outcomes), finished_(std::move(finished)), leases_(connection, running_) {}

void Exec::begin(std::deque<Job> &waiting) {
    for (; room() > 0 && !waiting.empty(); waiting.pop_front())
        if (!start(waiting.front()))
            return;
}

// Starts the job's program. Returns false if resources have run out; the job is unchanged then.
bool Exec::start(Job &job) {
    try {
        auto child = start_program(job);
        report::started(job);
        running_.emplace_back(std::move(job), std::move(child));
    } catch (const std::system_error &error) {
        if (is_shortage(error.code())) {
            capacity_ = running_.size();
            shortage_ends_ = Clock::now() + shortage_pause;
            spdlog::warn("{} job {}: waits, with {} programs at work: {}", job.queue, job.id,
                         capacity_, error.what());
            return false;
        }
        outcomes_.failed(std::move(job), error.what());
    }
    return true;
}

std::unique_ptr<Child> Exec::start_program(Job &job) const {
    std::vector<std::string> environment = variables(job);
    const auto start = [&] {
        return std::make_unique<Child>(*options_.exec, environment, std::move(job.params));
    };
    if (!job.meta)
        return start();
    if (const auto traceparent = traceparent_of(*job.meta))
        environment.push_back("TRACEPARENT=" + *traceparent);
    environment.push_back("ECTO_JOB_META=" + *job.meta);
    try {
        return start();
    } catch (const std::system_error &error) {
        if (error.code() != std::errc::argument_list_too_long)
            throw;
    }
    environment.back() = "ECTO_JOB_META_OMITTED=" + std::to_string(job.meta->size());
    return start();
}

void Exec::step(Clock::time_point now) {
    std::erase_if(running_, [this](RunningJob &running) { return reap(running); });
    for (RunningJob &running : running_)
        running.enforce_deadline(now);
    if (now >= shortage_ends_) {
        capacity_ = static_cast<std::size_t>(options_.jobs);
        shortage_ends_ = Clock::time_point::max();
    }
    if (extends_leases())
        leases_.step(now);
}

bool Exec::reap(RunningJob &running) {
    if (!running.child().ended())
        return false;
    if (running.is_lost())
        finished_();
    else
        report(running);
    return true;
}

void Exec::report(RunningJob &running) {
    const Child &child = running.child();
    auto failure = child.failure();
    if (!failure)
        return outcomes_.completed(running.take());
    if (running.stopped())
        *failure += ": its lease was over";
    if (const std::string output = child.stderr_tail(); !output.empty())
        *failure += ": " + output;
    const auto status = child.exit_status();
    if (features_.has_extend_lease && status == data_error)
        outcomes_.given_up(running.take(), *failure);
    else if (features_.has_extend_lease && status == temporary_failure)
        outcomes_.snoozed(running.take(), *failure, std::chrono::seconds(options_.snooze));
    else
        outcomes_.failed(running.take(), *failure);
}

void Exec::watch(Poller &poller) {
    for (const RunningJob &running : running_) {
        running.child().watch(poller);
        poller.wake_at(running.signal_at());
    }
    poller.wake_at(shortage_ends_);
    if (extends_leases())
        leases_.watch(poller);
}

void Exec::abandon() {
    for (const RunningJob &running : running_)
        running.child().kill(SIGTERM);
}

} // namespace ecto_job::consumer
