// Each step of the loop reports outcomes, distributes jobs and claims new ones, then waits for
// events.
//
// Outcomes come before claims, so that a job's end reaches the server before new jobs are started,
// or together with them. Until the first connection is open, signals have their default effect, so
// that connecting can be interrupted.
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
      claimer_(options, connection_, shutdown_, [this](std::vector<Job> jobs) {
          std::move(jobs.begin(), jobs.end(), std::back_inserter(waiting_));
      }) {
    connection_.open();
    performer_ = make_performer();
}

std::unique_ptr<Performer> Loop::make_performer() {
    // Checks the queues again: the finished job may have enqueued others.
    const auto finished = [this] {
        if (options_.drain)
            claimer_.recheck_all();
    };
    if (options_.sql)
        return std::make_unique<Sql>(options_, shutdown_, finished);
    return std::make_unique<Exec>(*options_.exec, static_cast<std::size_t>(options_.jobs),
                                  connection_, shutdown_, finished,
                                  [this] { return claimer_.next_claim(Clock::now(), room()); });
}

int Loop::run() {
    Signals signals;
    while (signals.stops() < 2) {
        if (signals.stops() > 0 && !shutdown_.requested()) {
            spdlog::info("stopping: jobs to finish: {}; a second signal stops at once", busy());
            shutdown_.request();
        }
        const auto now = Clock::now();
        performer_->step(now);
        distribute(now);
        claimer_.step(now, room());
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

void Loop::distribute(Clock::time_point now) {
    give_up_overdue(waiting_, now);
    performer_->begin(waiting_);
}

void Loop::watch(Signals &signals) {
    signals.watch(poller_);
    connection_.watch(poller_);
    claimer_.watch(poller_, room());
    performer_->watch(poller_);
    for (const Job &job : waiting_)
        poller_.wake_at(job.lease_over);
}

bool Loop::finished() const {
    if (busy() > 0 || claimer_.claiming())
        return false;
    return shutdown_.requested() || (options_.drain && claimer_.found_nothing());
}

} // namespace ecto_job::consumer
