// Exec performs --exec jobs: it runs a program for each job, up to -j at once, and passes the
// programs' results to Outcomes.
//
// No transaction is open while a program runs, so the program may take long and may use the
// database itself. Its exit status decides. Meanwhile the job's lease is extended.
#pragma once

#include "consumer/leases.hpp"
#include "consumer/outcomes.hpp"
#include "consumer/performer.hpp"
#include "consumer/running_job.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

namespace ecto_job::consumer {

class Exec : public Performer {
public:
    // `finished` is called for each job whose outcome is not reported, since it was lost.
    Exec(const Options &options, const protocol::Features &features, Connection &connection,
         Outcomes &outcomes, std::function<void()> finished);

    std::size_t room() const override { return capacity_ - std::min(capacity_, running_.size()); }
    std::size_t busy() const override { return running_.size(); }
    bool needs_main_connection() const override { return !running_.empty(); }
    void begin(std::deque<Job> &waiting) override;
    void step(Clock::time_point now) override;
    void watch(Poller &poller) override;
    void abandon() override;

private:
    bool start(Job &job);
    std::unique_ptr<Child> start_program(Job &job) const;
    bool reap(RunningJob &running);
    void report(RunningJob &running);
    bool extends_leases() const { return options_.extend && features_.has_extend_lease; }

    const Options &options_;
    const protocol::Features &features_;
    std::size_t capacity_; // programs that can run at once: -j, or less after a shortage
    Clock::time_point shortage_ends_ = Clock::time_point::max();
    Outcomes &outcomes_;
    std::function<void()> finished_;
    std::vector<RunningJob> running_;
    Leases leases_;
};

} // namespace ecto_job::consumer
