// Signals as something that poll() can wait for: handlers write into a pipe that the loop reads.
//
// SIGTERM and SIGINT are counted: the first asks for a graceful stop, the second for one at once.
// SIGCHLD only wakes the loop, which then looks at its children. SIGPIPE is ignored: a job's
// program that does not read its input is no reason to die. One object a process. No lock.
#pragma once

#include "consumer/descriptor.hpp"
#include "consumer/poller.hpp"

namespace ecto_job::consumer {

class Signals {
public:
    Signals();
    void watch(Poller &poller);
    // Those that have come until now.
    int stops();

private:
    void read_pipe();

    Pipe pipe_;
    int stops_ = 0;
};

} // namespace ecto_job::consumer
