// Exec starts programs, ends those whose lease is over, and passes their results to Outcomes.
//
// When descriptors, processes or memory run out, a job loses no attempt: it waits under its lease,
// and no more jobs are claimed than can run. Any other reason fails the job. A program that was
// signalled may still succeed: its exit status counts, and the lease decides whether the job is
// still held.
#include "consumer/exec.hpp"

#include "consumer/report.hpp"

#include <csignal>
#include <spdlog/spdlog.h>
#include <system_error>
#include <utility>

namespace ecto_job::consumer {

namespace {

// From SIGTERM to SIGKILL; --help names it
constexpr auto grace = std::chrono::seconds(5);

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

Exec::Exec(std::string command, std::size_t limit, Connection &connection, Shutdown &shutdown,
           std::function<void()> finished, Outcomes::NextClaim next_claim)
    : command_(std::move(command)), limit_(limit), capacity_(limit),
      outcomes_(connection, shutdown, std::move(finished), std::move(next_claim)) {}

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
        const auto deadline = job.lease_over;
        running_.push_back({std::move(job), std::move(child), deadline, SIGTERM});
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
        return std::make_unique<Child>(command_, environment, std::move(job.params));
    };
    if (!job.meta)
        return start();
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
    std::erase_if(running_, [this](Running &running) { return reap(running); });
    for (Running &running : running_)
        enforce_deadline(running, now);
    if (now >= shortage_ends_) {
        capacity_ = limit_;
        shortage_ends_ = Clock::time_point::max();
    }
    outcomes_.step(now);
}

bool Exec::reap(Running &running) {
    if (!running.child->ended())
        return false;
    if (auto failure = running.child->failure()) {
        if (running.signal != SIGTERM)
            *failure += ": its lease was over";
        if (const std::string output = running.child->stderr_tail(); !output.empty())
            *failure += ": " + output;
        outcomes_.failed(std::move(running.job), *failure);
    } else {
        outcomes_.completed(std::move(running.job));
    }
    return true;
}

void Exec::enforce_deadline(Running &running, Clock::time_point now) {
    if (now < running.deadline)
        return;
    report::overdue(running.job, running.signal == SIGTERM ? "SIGTERM" : "SIGKILL");
    running.child->kill(running.signal);
    running.deadline = running.signal == SIGTERM ? now + grace : Clock::time_point::max();
    running.signal = SIGKILL;
}

void Exec::watch(Poller &poller) {
    for (const Running &running : running_) {
        running.child->watch(poller);
        poller.wake_at(running.deadline);
    }
    poller.wake_at(shortage_ends_);
    outcomes_.watch(poller);
}

void Exec::abandon() {
    for (const Running &running : running_)
        running.child->kill(SIGTERM);
}

} // namespace ecto_job::consumer
