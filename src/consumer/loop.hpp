// Loop is the program's main loop: it claims jobs, distributes them and waits, until the program is
// stopped or no job is left.
//
// One thread and one poll() serve signals, connections and programs. No step blocks, so a locked
// queue delays neither the end of a program whose lease is over nor the reaction to a second
// signal.
#pragma once

#include "consumer/claimer.hpp"
#include "consumer/connection.hpp"
#include "consumer/performer.hpp"
#include "consumer/shutdown.hpp"
#include "consumer/signals.hpp"

#include <deque>
#include <memory>

namespace ecto_job::consumer {

class Loop {
public:
    // Opens the connections. Throws Unreachable if the server cannot be reached.
    explicit Loop(const Options &options);
    // Runs until the program is stopped or drained. Returns its exit status.
    int run();

private:
    std::unique_ptr<Performer> make_performer();
    void distribute(Clock::time_point now);
    void watch(Signals &signals);
    // Returns the number of claimed jobs whose outcome has not been reported.
    std::size_t busy() const { return performer_->busy() + waiting_.size(); }
    // Returns the number of jobs that may be claimed now.
    std::size_t room() const { return waiting_.empty() ? performer_->room() : 0; }
    bool finished() const;

    const Options &options_;
    Shutdown shutdown_;
    Connection connection_;
    Claimer claimer_;
    std::unique_ptr<Performer> performer_;
    std::deque<Job> waiting_; // claimed but not begun, because of --batch
    Poller poller_;
};

} // namespace ecto_job::consumer
