// The program's loop: claim, hand over, wait; until it is stopped or there is nothing left.
//
// One thread and one poll() for signals, connections and programs. Nothing in it waits for one
// thing alone, so that a locked queue does not keep a program from being ended in time, nor a
// program a second signal from being obeyed. No lock.
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
    // Connects; throws Unreachable.
    explicit Loop(const Options &options);
    // Returns the program's exit status.
    int run();

private:
    std::unique_ptr<Performer> make_performer();
    void hand_over(Clock::time_point now);
    void watch(Signals &signals);
    // Claimed and not over.
    std::size_t busy() const { return performer_->busy() + waiting_.size(); }
    // That may be claimed.
    std::size_t room() const { return waiting_.empty() ? performer_->room() : 0; }
    bool finished() const;

    const Options &options_;
    Shutdown shutdown_;
    Connection connection_;
    Claimer claimer_;
    std::unique_ptr<Performer> performer_;
    std::deque<Job> waiting_; // claimed beyond the room there was: --batch
    Poller poller_;
};

} // namespace ecto_job::consumer
