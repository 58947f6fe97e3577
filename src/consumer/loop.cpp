// Each step of the loop distributes jobs, reports outcomes and claims new jobs, then waits for
// events.
//
// Outcomes come before claims, so that a job's end reaches the server before new jobs are started,
// or together with them. A program that stops gives back the jobs that wait, so that other
// consumers have them at once and no attempt is counted. Until the first connection is open,
// signals have their default effect, so that connecting can be interrupted.
#include "consumer/loop.hpp"

#include "consumer/exec.hpp"
#include "consumer/sql.hpp"

#include <iterator>
#include <spdlog/spdlog.h>
#include <utility>

namespace ecto_job::consumer {

Loop::Loop(const Options &options)
    : options_(options),
      connection_(options, "main connection", protocol::settings(protocol::Session::own)),
      claimer_(options, connection_, shutdown_,
               [this](std::vector<Job> jobs) {
                   std::move(jobs.begin(), jobs.end(), std::back_inserter(waiting_));
               }),
      outcomes_(
          connection_, shutdown_, [this] { on_finished(); },
          [this] { return claimer_.next_claim(Clock::now(), room()); }) {
    connection_.open();
    performer_ = make_performer();
}

std::unique_ptr<Performer> Loop::make_performer() {
    const auto finished = [this] { on_finished(); };
    if (options_.sql)
        return std::make_unique<Sql>(options_, shutdown_, finished);
    return std::make_unique<Exec>(options_, claimer_.features(), connection_, outcomes_, finished);
}

// Has the queues be checked again: the finished job may have enqueued others.
void Loop::on_finished() {
    if (options_.drain)
        claimer_.recheck_all();
}

int Loop::run() {
    Signals signals;
    while (signals.stops() < 2) {
        if (signals.stops() > 0 && !shutdown_.requested())
            stop();
        const auto now = Clock::now();
        performer_->step(now);
        distribute(now);
        outcomes_.step(now);
        claimer_.step(now, room(), needs_connection());
        connection_.step(now);
        if (finished()) {
            spdlog::info(shutdown_.requested() ? "stopped" : "drained: nothing left to start");
            return shutdown_.status();
        }
        watch(signals);
        poller_.wait();
    }
    spdlog::warn("stopped at once: jobs left to come back: {}", busy());
    performer_->abandon();
    return exit_fatal;
}

void Loop::stop() {
    shutdown_.request();
    const std::size_t to_give_back = gives_back() ? waiting_.size() : 0;
    spdlog::info("stopping: jobs to finish: {}, to give back: {}; a second signal stops at once",
                 busy() - to_give_back, to_give_back);
}

void Loop::distribute(Clock::time_point now) {
    drop_overdue(waiting_, now);
    if (!gives_back())
        return performer_->begin(waiting_);
    for (Job &job : std::exchange(waiting_, {}))
        outcomes_.given_back(std::move(job));
}

void Loop::watch(Signals &signals) {
    signals.watch(poller_);
    connection_.watch(poller_);
    claimer_.watch(poller_, room());
    performer_->watch(poller_);
    outcomes_.watch(poller_);
    for (const Job &job : waiting_)
        poller_.wake_at(job.lease_over);
}

bool Loop::finished() const {
    // pgbouncer 1.18 crashes if a client does not await the end of its request to cancel
    if (busy() > 0 || claimer_.claiming() || connection_.is_cancelling())
        return false;
    return shutdown_.requested() || (options_.drain && claimer_.found_nothing());
}

} // namespace ecto_job::consumer
