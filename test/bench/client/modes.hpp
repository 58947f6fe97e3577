// The modes of the client; each gets its task as JSON from standard input.
#pragma once

#include "link.hpp"

#include <nlohmann/json.hpp>

namespace bench {

using Json = nlohmann::json;

Json drain(const Json &script);    // performs jobs as fast as it can
Json produce(const Json &script);  // enqueues one job a transaction, at random times
Json consume(const Json &script);  // waits for jobs, and records when each starts
Json hold(const Json &script);     // starts jobs and waits to be killed
Json stamp(const Json &arguments); // a job's program: records when it starts

} // namespace bench
