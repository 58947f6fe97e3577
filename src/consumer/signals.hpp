// Signals makes signals visible to poll(): the handlers write into a pipe that the main loop reads.
//
// SIGTERM and SIGINT are counted: the first requests a graceful stop, the second an immediate one.
// SIGCHLD only wakes the loop, which then checks its children. SIGPIPE is ignored, since a job's
// program may not read its input. There is one object in a process.
#pragma once

#include "consumer/descriptor.hpp"
#include "consumer/poller.hpp"

namespace ecto_job::consumer {

class Signals {
public:
    Signals();
    void watch(Poller &poller);
    // Returns the number of SIGTERM and SIGINT received so far.
    int stops();

private:
    void read_pipe();

    Pipe pipe_;
    int stops_ = 0;
};

} // namespace ecto_job::consumer
