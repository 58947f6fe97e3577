// Leases sends extend_lease and handles its results. A program may have ended before the result
// arrives; its job is not among the running ones then, and the result is of no interest.
#include "consumer/leases.hpp"

#include "consumer/report.hpp"

#include <algorithm>

namespace ecto_job::consumer {

void Leases::step(Clock::time_point now) {
    if (!connection_.idle())
        return;
    std::vector<Statement> statements;
    std::vector<Sent> sent;
    for (const RunningJob *running : due(now)) {
        const Job &job = running->job();
        statements.push_back(protocol::extend(job, running->lease_length()));
        sent.push_back({job.queue, job.id, job.lease});
    }
    if (!statements.empty())
        connection_.send(statements,
                         [this, sent](const Results &results) { on_results(sent, results); });
}

// Returns either all jobs that are due and may be extended together, or one to be extended alone.
std::vector<const RunningJob *> Leases::due(Clock::time_point now) const {
    std::vector<const RunningJob *> together;
    std::vector<const RunningJob *> alone;
    for (const RunningJob &running : running_) {
        if (running.extend_at() > now)
            continue;
        if (!running.alone())
            together.push_back(&running);
        else if (alone.empty())
            alone.push_back(&running);
    }
    return together.empty() ? alone : together;
}

void Leases::watch(Poller &poller) const {
    if (!connection_.idle())
        return;
    for (const RunningJob &running : running_)
        poller.wake_at(running.extend_at());
}

void Leases::on_results(const std::vector<Sent> &sent, const Results &results) {
    if (!results.back().ok())
        return on_failure(sent, results.back());
    const auto now = Clock::now();
    for (std::size_t i = 0; i < sent.size(); i++) {
        RunningJob *const running = find(sent[i]);
        if (running == nullptr)
            continue;
        if (const auto lease_over = protocol::lease_over(results[i]))
            running->extended(*lease_over, now);
        else
            running->lost(now);
    }
}

void Leases::on_failure(const std::vector<Sent> &sent, const Result &result) {
    if (result.verdict() == Verdict::lost)
        return connection_.drop(result.message());
    for (const Sent &one : sent) {
        RunningJob *const running = find(one);
        if (running == nullptr)
            continue;
        if (sent.size() > 1) {
            running->extend_alone();
        } else {
            report::not_extended(running->job(), result.message());
            running->not_extended(Clock::now());
        }
    }
}

RunningJob *Leases::find(const Sent &sent) {
    const auto found =
        std::find_if(running_.begin(), running_.end(), [&](const RunningJob &running) {
            const Job &job = running.job();
            return job.id == sent.id && job.lease == sent.lease && job.queue == sent.queue;
        });
    return found == running_.end() ? nullptr : &*found;
}

} // namespace ecto_job::consumer
