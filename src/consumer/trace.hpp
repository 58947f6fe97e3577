// The trace that a job belongs to.
#pragma once

#include <optional>
#include <string>

namespace ecto_job::consumer {

// Returns the W3C traceparent that a job's meta (JSON) has under this key; nullopt without one, or
// if the value has another form.
std::optional<std::string> traceparent_of(const std::string &meta);

} // namespace ecto_job::consumer
