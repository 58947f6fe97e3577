// Sql distributes jobs among its workers. A worker without a connection takes no jobs.
#include "consumer/sql.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace ecto_job::consumer {

namespace {

// Takes up to `limit` jobs of one queue from the front.
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
        workers_.push_back(std::make_unique<SqlWorker>(options, number, shutdown, finished));
}

std::size_t Sql::free_workers() const {
    return static_cast<std::size_t>(std::count_if(
        workers_.begin(), workers_.end(), [](const auto &worker) { return worker->free(); }));
}

std::size_t Sql::room() const {
    return free_workers() * per_transaction_;
}

std::size_t Sql::busy() const {
    return std::accumulate(
        workers_.begin(), workers_.end(), std::size_t{0},
        [](std::size_t sum, const auto &worker) { return sum + worker->busy(); });
}

// Distributes the jobs evenly, so that no worker is idle while another one has several.
void Sql::begin(std::deque<Job> &waiting) {
    std::size_t left = free_workers();
    for (const auto &worker : workers_) {
        if (!worker->free() || waiting.empty())
            continue;
        const std::size_t share = (waiting.size() + left - 1) / left;
        left--;
        worker->begin(take(waiting, std::min(share, per_transaction_)));
    }
}

void Sql::step(Clock::time_point now) {
    for (const auto &worker : workers_)
        worker->step(now);
}

void Sql::watch(Poller &poller) {
    for (const auto &worker : workers_)
        worker->watch(poller);
}

} // namespace ecto_job::consumer
