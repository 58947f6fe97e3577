// The lanes as one performer.
//
// A lane whose connection is away has no room; the others go on. No lock.
#include "consumer/sql.hpp"

#include <algorithm>
#include <utility>

namespace ecto_job::consumer {

namespace {

bool is_free(const std::unique_ptr<Lane> &lane) {
    return lane->free();
}

bool is_busy(const std::unique_ptr<Lane> &lane) {
    return lane->busy();
}

template <typename Lanes, typename Predicate>
std::size_t count(const Lanes &lanes, Predicate test) {
    return static_cast<std::size_t>(std::count_if(lanes.begin(), lanes.end(), test));
}

} // namespace

Sql::Sql(const Options &options, Shutdown &shutdown, const std::function<void()> &finished) {
    for (int number = 1; number <= options.jobs; number++)
        lanes_.push_back(std::make_unique<Lane>(options, number, shutdown, finished));
}

std::size_t Sql::room() const {
    return count(lanes_, is_free);
}

std::size_t Sql::busy() const {
    return count(lanes_, is_busy);
}

void Sql::begin(Job job) {
    (*std::find_if(lanes_.begin(), lanes_.end(), is_free))->begin(std::move(job));
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
