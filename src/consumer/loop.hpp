// Loop is the program's main loop: it claims jobs, distributes them and waits, until the program is
// stopped or no job is left.
//
// One thread and one poll() serve signals, connections and programs. No step blocks, so a locked
// queue delays neither the end of a program whose lease is over nor the reaction to a second
// signal.
#pragma once

#include "consumer/claimer.hpp"
#include "consumer/connection.hpp"
#include "consumer/outcomes.hpp"
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
    void on_finished();
    void stop();
    void distribute(Clock::time_point now);
    void watch(Signals &signals);
    // Returns the number of claimed jobs whose outcome has not been reported.
    std::size_t busy() const { return performer_->busy() + outcomes_.size() + waiting_.size(); }
    // Returns the number of jobs that may be claimed now.
    std::size_t room() const { return waiting_.empty() ? performer_->room() : 0; }
    // Returns whether claimed jobs may need the main connection at any time.
    bool needs_connection() const {
        return performer_->needs_main_connection() || outcomes_.size() > 0;
    }
    // Returns whether jobs that wait are given back instead of being performed.
    bool gives_back() const {
        return shutdown_.requested() && claimer_.features().has_extend_lease;
    }
    bool finished() const;

    const Options &options_;
    Shutdown shutdown_;
    Connection connection_;
    Claimer claimer_;
    Outcomes outcomes_; // on the main connection
    std::unique_ptr<Performer> performer_;
    std::deque<Job> waiting_; // claimed but not begun, because of --batch
    Poller poller_;
};

} // namespace ecto_job::consumer
