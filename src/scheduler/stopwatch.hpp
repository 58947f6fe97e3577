// A measurement of time that a change of the clock does not affect.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

class Stopwatch {
public:
    Stopwatch() { INSTR_TIME_SET_CURRENT(start_); }

    // Returns the microseconds since the constructor.
    int64 us() const {
        instr_time now;
        INSTR_TIME_SET_CURRENT(now);
        INSTR_TIME_SUBTRACT(now, start_);
        return static_cast<int64>(INSTR_TIME_GET_MICROSEC(now));
    }

private:
    instr_time start_;
};

} // namespace ecto_job
