// One line of log for each thing that happens to a job: started, completed, failed, lost.
//
// Every line names the queue and the job first, so that grep finds a job's whole story; what the
// job's program or statement said is quoted, whatever it holds. No lock.
#pragma once

#include "consumer/protocol.hpp"

#include <string>
#include <string_view>

namespace ecto_job::consumer::report {

// Where the log goes and from which level on; before the first line.
void set_up(const std::string &level);

void started(const Job &job);
void completed(const Job &job);
// With what the server made of it: RETRY and when, or FAILED.
void failed(const Job &job, const std::string &error, const protocol::Failed &next);
// Somebody else's by now, or left to its lease: nothing of ours will be stored for it.
void lost(const Job &job, std::string_view why);
// Its lease is over and its program still runs: it gets a signal.
void overdue(const Job &job, std::string_view signal);
// How it ended could not be told; that is tried again.
void not_told(const Job &job, std::string_view why);

} // namespace ecto_job::consumer::report
