// What can be seen of a --sql statement without a server: that it would end the job's transaction,
// or talk to the client. No lock.
#pragma once

#include <string>

namespace ecto_job::consumer {

// Returns what is wrong with the statement, or nothing. The server judges the rest when it parses
// it.
std::string why_not_in_transaction(const std::string &sql);

} // namespace ecto_job::consumer
