// The lanes as one performer.
//
// A lane whose connection is away has no room; the others go on. No lock.
#include "consumer/sql.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace ecto_job::consumer {

namespace {

// The first of the waiting jobs, of one queue
std::vector<Job> take(std::deque<Job> &waiting, std::size_t limit) {
    std::vector<Job> jobs;
    while (!waiting.empty() && jobs.size() < limit &&
           (jobs.empty() || waiting.front().queue == jobs.front().queue)) {
        jobs.push_back(std::move(waiting.front()));
        waiting.pop_front();
    }
    return jobs;
}

} // namespace

Sql::Sql(const Options &options, Shutdown &shutdown, const std::function<void()> &finished)
    : per_transaction_(static_cast<std::size_t>(options.per_transaction)) {
    for (int number = 1; number <= options.jobs; number++)
        lanes_.push_back(std::make_unique<Lane>(options, number, shutdown, finished));
}

std::size_t Sql::free_lanes() const {
    return static_cast<std::size_t>(
        std::count_if(lanes_.begin(), lanes_.end(), [](const auto &lane) { return lane->free(); }));
}

std::size_t Sql::room() const {
    return free_lanes() * per_transaction_;
}

std::size_t Sql::busy() const {
    return std::accumulate(lanes_.begin(), lanes_.end(), std::size_t{0},
                           [](std::size_t sum, const auto &lane) { return sum + lane->busy(); });
}

// Few jobs are shared out, so that no lane waits while another has several
void Sql::begin(std::deque<Job> &waiting) {
    std::size_t left = free_lanes();
    for (const auto &lane : lanes_) {
        if (!lane->free() || waiting.empty())
            continue;
        const std::size_t share = (waiting.size() + left - 1) / left;
        left--;
        lane->begin(take(waiting, std::min(share, per_transaction_)));
    }
}

void Sql::tend(Clock::time_point now) {
    for (const auto &lane : lanes_)
        lane->tend(now);
}

void Sql::watch(Poller &poller) {
    for (const auto &lane : lanes_)
        lane->watch(poller);
}

} // namespace ecto_job::consumer
