// in_background() runs a function that blocks in a thread of its own, so that the main loop does
// not block.
//
// The thread shares nothing with the loop but what the function owns. If the program ends first,
// the thread is abandoned.
#pragma once

#include "consumer/descriptor.hpp"

#include <thread>
#include <utility>

namespace ecto_job::consumer {

// Runs `work`, which must not throw. Returns a descriptor that becomes readable at the end of
// `work`. Throws std::system_error if threads or descriptors have run out.
template <typename Work> Descriptor in_background(Work work) {
    Pipe pipe;
    std::thread([work = std::move(work), write_end = std::move(pipe.write_end)]() mutable {
        work();
        write_end.close();
    }).detach();
    return std::move(pipe.read_end);
}

} // namespace ecto_job::consumer
