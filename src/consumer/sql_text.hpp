// Checks a --sql statement without a server: it must not end the job's transaction, and must not
// exchange data with the client.
#pragma once

#include <string>

namespace ecto_job::consumer {

// Returns an error message, or an empty string. The server checks the rest when it parses the
// statement.
std::string why_not_in_transaction(const std::string &sql);

} // namespace ecto_job::consumer
