// The texts of the log, which is standard error.
//
// Levels: info for the normal course, warning for a failed attempt that will be retried, error for
// what an administrator has to repair.
#include "consumer/report.hpp"

#include "consumer/text.hpp"

#include <memory>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace ecto_job::consumer::report {

namespace {

template <typename... Values>
void line(spdlog::level::level_enum level, const Job &job, fmt::format_string<Values...> format,
          Values &&...values) {
    if (spdlog::should_log(level))
        spdlog::log(level, "{} job {}: {}", job.queue, job.id,
                    fmt::format(format, std::forward<Values>(values)...));
}

// Returns whether the job is gone, since another one waits under its key: the row is as it was.
bool is_superseded(const protocol::Changed &next) {
    return next.state == "IN_PROGRESS" || next.state == "RESERVED";
}

} // namespace

void set_up(const std::string &level) {
    auto log = std::make_shared<spdlog::logger>("ecto_job_consumer",
                                                std::make_shared<spdlog::sinks::stderr_sink_st>());
    log->set_pattern("%Y-%m-%d %H:%M:%S.%e %z [%P] %l: %v");
    log->set_level(spdlog::level::from_str(level));
    spdlog::set_default_logger(std::move(log));
}

void started(const Job &job) {
    line(spdlog::level::info, job, "started, attempt {} of {}", job.attempt, job.max_attempts);
}

void completed(const Job &job) {
    const std::chrono::duration<double, std::milli> took = Clock::now() - job.started;
    line(spdlog::level::info, job, "completed after {:.0f} ms", took.count());
}

void failed(const Job &job, const std::string &error, const protocol::Changed &next) {
    if (is_superseded(next))
        line(spdlog::level::warn, job, "failed, and another job waits under its key: {}",
             one_line(error));
    else if (next.state == "RETRY")
        line(spdlog::level::warn, job, "failed, RETRY at {}: {}", next.schedule, one_line(error));
    else
        line(spdlog::level::err, job, "failed for good, {} after attempt {} of {}: {}", next.state,
             job.attempt, job.max_attempts, one_line(error));
}

void snoozed(const Job &job, const std::string &why, const protocol::Changed &next) {
    if (is_superseded(next))
        line(spdlog::level::info, job, "given back, and another job waits under its key: {}",
             one_line(why));
    else if (next.state == "SCHEDULED")
        line(spdlog::level::info, job, "snoozed until {}: {}", next.schedule, one_line(why));
    else
        line(spdlog::level::info, job, "given back: {}", one_line(why));
}

void lost(const Job &job, std::string_view why) {
    line(spdlog::level::err, job, "lost: {}", one_line(why));
}

void signalled(const Job &job, std::string_view why, std::string_view signal) {
    line(spdlog::level::warn, job, "{}: {}", why, signal);
}

void not_extended(const Job &job, std::string_view why) {
    line(spdlog::level::warn, job, "its lease could not be extended: {}", one_line(why));
}

void not_reported(const Job &job, std::string_view why) {
    line(spdlog::level::warn, job, "its end could not be told, next try in 1 s: {}", one_line(why));
}

} // namespace ecto_job::consumer::report
