// The back-off of an owner whose code has ended the scheduler. No clock, no lock, no server.
#pragma once

#include <cstdint>

#include "core/times.hpp"

namespace ecto_job {

// How often code of an owner has ended the scheduler, each time within 10 minutes of the last.
struct Deaths {
    std::int32_t count;
    Micros last;
};
// Counts one more death.
Deaths one_more(const Deaths &before, Micros now);
// Returns until when the owner's queues back off; minus_infinity: they do not, as after a step back
// of the clock.
Micros wait_until(const Deaths &deaths, Micros now);

} // namespace ecto_job
