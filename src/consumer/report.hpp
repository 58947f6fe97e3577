// One line of log for each event of a job: started, completed, failed, lost.
//
// Every line begins with the queue and the job's id, so that grep finds a job's whole story. The
// output of the job's program or statement is quoted.
#pragma once

#include "consumer/protocol.hpp"

#include <string>
#include <string_view>

namespace ecto_job::consumer::report {

// Sets the log's level. Call it before anything is logged.
void set_up(const std::string &level);

void started(const Job &job);
void completed(const Job &job);
// Reports a failure, with the job's new state: RETRY and its time, or FAILED.
void failed(const Job &job, const std::string &error, const protocol::Failed &next);
// Reports a job that another consumer may have, or that is left until its lease ends: nothing was
// stored.
void lost(const Job &job, std::string_view why);
// Reports that a job's lease is over and its program gets a signal.
void overdue(const Job &job, std::string_view signal);
// Reports that a job's outcome could not be reported to the server and will be retried.
void not_reported(const Job &job, std::string_view why);

} // namespace ecto_job::consumer::report
