// Exec performs --exec jobs: it runs a program for each job, up to `limit` at once, and reports all
// results on one connection.
//
// No transaction is open while a program runs, so the program may take long and may use the
// database itself. Its exit status decides. The lease is the program's time limit: when it ends,
// the program gets SIGTERM and then SIGKILL, since another consumer may have the job by then.
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

    std::size_t room() const override { return capacity_ - std::min(capacity_, running_.size()); }
    std::size_t busy() const override { return running_.size() + outcomes_.size(); }
    void begin(std::deque<Job> &waiting) override;
    void step(Clock::time_point now) override;
    void watch(Poller &poller) override;
    void abandon() override;

private:
    struct Running {
        Job job;
        std::unique_ptr<Child> child;
        Clock::time_point deadline; // then the program gets `signal`
        int signal;                 // SIGTERM first, then SIGKILL
    };

    bool start(Job &job);
    std::unique_ptr<Child> start_program(Job &job) const;
    static void enforce_deadline(Running &running, Clock::time_point now);
    bool reap(Running &running);

    std::string command_;
    std::size_t limit_;
    std::size_t capacity_; // programs that can run at once: `limit_`, or less after a shortage
    Clock::time_point shortage_ends_ = Clock::time_point::max();
    Outcomes outcomes_;
    std::vector<Running> running_;
};

} // namespace ecto_job::consumer
