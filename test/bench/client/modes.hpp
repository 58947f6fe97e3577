// What the client does, each by a description in JSON, which standard input brings.
#pragma once

#include "link.hpp"

#include <nlohmann/json.hpp>

namespace bench {

using Json = nlohmann::json;

Json drain(const Json &script);    // performs jobs as fast as it can
Json produce(const Json &script);  // enqueues one job a transaction, at random times
Json consume(const Json &script);  // waits for jobs, and notes when each starts
Json hold(const Json &script);     // starts jobs and is killed
Json stamp(const Json &arguments); // a job's program: notes when it starts

} // namespace bench
