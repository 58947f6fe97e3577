// --exec: a program for each job. Up to `limit` run at once; one connection tells how they ended.
//
// No transaction is open while a program runs, so it may take long and may talk to the database as
// it likes. Its exit status decides. The lease is the program's time limit: when it is over the
// program is told to end, then killed, since another consumer may have the job by then. No lock.
#pragma once

#include "consumer/child.hpp"
#include "consumer/outcomes.hpp"
#include "consumer/performer.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ecto_job::consumer {

class Exec : public Performer {
public:
    Exec(std::string command, std::size_t limit, Connection &connection, Shutdown &shutdown,
         std::function<void()> finished, Outcomes::NextClaim next_claim);

    std::size_t room() const override { return room_for_ - std::min(room_for_, running_.size()); }
    std::size_t busy() const override { return running_.size() + outcomes_.size(); }
    void begin(std::deque<Job> &waiting) override;
    void tend(Clock::time_point now) override;
    void watch(Poller &poller) override;
    void abandon() override;

private:
    struct Running {
        Job job;
        std::unique_ptr<Child> child;
        Clock::time_point patience; // until then it may run
        int signal;                 // what it gets then: SIGTERM, SIGKILL, nothing more
    };

    bool start(Job &job);
    std::unique_ptr<Child> start_program(Job &job) const;
    static void limit_time(Running &running, Clock::time_point now);
    bool take_end(Running &running);

    std::string command_;
    std::size_t limit_;
    std::size_t room_for_; // programs at once, as far as is known: the limit, or less for a while
    Clock::time_point more_at_ = Clock::time_point::max();
    Outcomes outcomes_;
    std::vector<Running> running_;
};

} // namespace ecto_job::consumer
