// Starting programs, watching their time, telling how they ended.
//
// A program that cannot be started (no process left, an environment too long) fails its job like
// any other failure. One that was told to end may still succeed: its exit status counts, and the
// lease decides whether the job was still its. No lock.
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

std::vector<std::string> variables(const Job &job) {
    std::vector<std::string> variables{
        "ECTO_JOB_ID=" + job.id,
        "ECTO_JOB_ATTEMPT=" + job.attempt,
        "ECTO_JOB_MAX_ATTEMPTS=" + job.max_attempts,
        "ECTO_JOB_QUEUE=" + job.queue,
    };
    if (job.meta)
        variables.push_back("ECTO_JOB_META=" + *job.meta);
    return variables;
}

} // namespace

Exec::Exec(std::string command, std::size_t limit, Connection &connection, Shutdown &shutdown,
           std::function<void()> finished, Outcomes::NextClaim next_claim)
    : command_(std::move(command)), limit_(limit),
      outcomes_(connection, shutdown, std::move(finished), std::move(next_claim)) {}

void Exec::begin(std::deque<Job> &waiting) {
    for (; room() > 0 && !waiting.empty(); waiting.pop_front())
        start(std::move(waiting.front()));
}

void Exec::start(Job job) {
    report::started(job);
    std::unique_ptr<Child> child;
    try {
        child = std::make_unique<Child>(command_, variables(job), std::exchange(job.params, {}));
    } catch (const std::system_error &error) {
        return outcomes_.failed(std::move(job), error.what());
    }
    const auto patience = job.lease_over;
    running_.push_back({std::move(job), std::move(child), patience, SIGTERM});
}

void Exec::tend(Clock::time_point now) {
    std::erase_if(running_, [this](Running &running) { return take_end(running); });
    for (Running &running : running_)
        limit_time(running, now);
    outcomes_.tend(now);
}

bool Exec::take_end(Running &running) {
    if (!running.child->ended())
        return false;
    if (auto failure = running.child->failure()) {
        if (running.signal != SIGTERM)
            *failure += ": its lease was over";
        if (const std::string complaint = running.child->complaint(); !complaint.empty())
            *failure += ": " + complaint;
        outcomes_.failed(std::move(running.job), *failure);
    } else {
        outcomes_.completed(std::move(running.job));
    }
    return true;
}

void Exec::limit_time(Running &running, Clock::time_point now) {
    if (now < running.patience)
        return;
    report::overdue(running.job, running.signal == SIGTERM ? "SIGTERM" : "SIGKILL");
    running.child->kill(running.signal);
    running.patience = running.signal == SIGTERM ? now + grace : Clock::time_point::max();
    running.signal = SIGKILL;
}

void Exec::watch(Poller &poller) {
    for (const Running &running : running_) {
        running.child->watch(poller);
        poller.wake_at(running.patience);
    }
    outcomes_.watch(poller);
}

void Exec::abandon() {
    for (const Running &running : running_)
        running.child->kill(SIGTERM);
}

} // namespace ecto_job::consumer
