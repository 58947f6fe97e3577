// The six states of a job, as EctoJob names them in the column `state`.
//
// The column is text, because EctoJob's own statements and people at psql read and write it.
// The C++ code uses this enum, so that a switch which forgets a state does not compile. A text that
// is none of the six is no state: whoever reads it decides what that means. No lock, no allocation.
//
// These files name states, and a new state may concern each of them:
// - SQL texts: src/sql, table/create.cpp, table/triggers.cpp, queue/statements.cpp, and a HINT in
//   queue/unique_jobs.cpp. upgrade_queue() must replace the CHECK of tables that exist;
// - by this enum: functions/trigger_functions.cpp, queue/run_selection.cpp,
//   queue/rows_at_fault.cpp, queue/transitions.cpp, queue/unique_jobs.cpp;
// - by the length of the longest name: table/check.cpp;
// - in the consumer program: consumer/report.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace ecto_job {

enum class State : unsigned char { scheduled, available, reserved, in_progress, retry, failed };

inline constexpr std::array all_states{State::scheduled,   State::available, State::reserved,
                                       State::in_progress, State::retry,     State::failed};

constexpr std::string_view name(State state) {
    constexpr std::array<std::string_view, all_states.size()> names{
        "SCHEDULED", "AVAILABLE", "RESERVED", "IN_PROGRESS", "RETRY", "FAILED"};
    return names[static_cast<std::size_t>(state)];
}

// Returns the state of this exact name: the table's CHECK allows no other case and no spaces.
constexpr std::optional<State> state_from(std::string_view text) {
    for (const State state : all_states)
        if (name(state) == text)
            return state;
    return std::nullopt;
}

// Returns whether somebody holds a job of this state under a lease.
constexpr bool is_held(std::optional<State> state) {
    return state == State::reserved || state == State::in_progress;
}

} // namespace ecto_job
