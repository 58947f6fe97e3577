// Shutdown records whether the program is to end, because of a signal, a drained queue or a fatal
// error, and with which status.
//
// In all three cases no new job is started and started jobs are finished. Only the exit status
// differs.
#pragma once

#include "consumer/text.hpp"

#include <spdlog/spdlog.h>
#include <string_view>

namespace ecto_job::consumer {

inline constexpr int exit_done = 0;
inline constexpr int exit_fatal = 1;
inline constexpr int exit_no_connection = 2;

class Shutdown {
public:
    void request() { requested_ = true; }
    void fatal(std::string_view why) {
        spdlog::critical("{}", one_line(why));
        requested_ = true;
        status_ = exit_fatal;
    }
    bool requested() const { return requested_; }
    int status() const { return status_; }

private:
    bool requested_ = false;
    int status_ = exit_done;
};

} // namespace ecto_job::consumer
