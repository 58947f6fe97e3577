// One line of log for each event of a job: started, completed, failed, snoozed, lost.
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
void failed(const Job &job, const std::string &error, const protocol::Changed &next);
// Reports a job that was put back, with its new state: SCHEDULED and its time, or AVAILABLE.
void snoozed(const Job &job, const std::string &why, const protocol::Changed &next);
// Reports a job that another consumer may have, or that is left until its lease ends: nothing was
// stored.
void lost(const Job &job, std::string_view why);
// Reports that a job's program gets a signal, since the job is not held any more.
void signalled(const Job &job, std::string_view why, std::string_view signal);
// Reports that a job's lease could not be extended and will be retried.
void not_extended(const Job &job, std::string_view why);
// Reports that a job's outcome could not be reported to the server and will be retried.
void not_reported(const Job &job, std::string_view why);

} // namespace ecto_job::consumer::report
