// The W3C trace context of a job: the value of the HTTP header `traceparent`, as the key
// "traceparent" of the job's meta and as the environment variable TRACEPARENT of its program.
#pragma once

#include <string_view>

namespace ecto_job {

// Returns whether the text is a traceparent of the W3C recommendation "Trace Context": version,
// trace id, parent id and flags as 2, 32, 16 and 2 lower-case hexadecimal digits. The version is
// not ff, and the ids are not 0. A longer text, of a later version, is none.
bool is_traceparent(std::string_view text);

} // namespace ecto_job
