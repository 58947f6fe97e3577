// The command line: what is taken, what is refused and with which exit status.
#include "consumer/options.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

using namespace ecto_job::consumer;

namespace {

struct Parsed {
    std::optional<int> status;
    Options options;
    std::string output;
    std::string complaint;
};

Parsed parse(std::initializer_list<const char *> arguments) {
    std::vector<const char *> argv{"ecto_job_consumer"};
    argv.insert(argv.end(), arguments);
    Parsed parsed;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    parsed.status = parse_options(static_cast<int>(argv.size()), argv.data(), parsed.options);
    parsed.output = testing::internal::GetCapturedStdout();
    parsed.complaint = testing::internal::GetCapturedStderr();
    return parsed;
}

TEST(options, defaults_leave_the_database_to_libpq) {
    const Parsed parsed = parse({"--queue", "jobs", "--exec", "true"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.queues, std::vector<std::string>{"jobs"});
    EXPECT_EQ(parsed.options.exec, "true");
    EXPECT_FALSE(parsed.options.sql || parsed.options.batch || parsed.options.timeout);
    EXPECT_FALSE(parsed.options.dbname || parsed.options.host || parsed.options.port);
    EXPECT_EQ(parsed.options.jobs, 1);
    EXPECT_EQ(parsed.options.per_transaction, 1);
    EXPECT_FALSE(parsed.options.drain);
}

TEST(options, several_jobs_in_a_transaction) {
    const Parsed parsed =
        parse({"--queue", "jobs", "--sql", "SELECT 1", "--per-transaction", "100"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.per_transaction, 100);
}

TEST(options, psql_s_letters_mean_what_they_mean_in_psql) {
    const Parsed parsed =
        parse({"-d", "app",     "-h", "/run",      "-p",   "5433",    "-U",           "me",
               "-w", "--queue", "a",  "--queue",   "b",    "--sql",   "SELECT f($1)", "-j",
               "4",  "--batch", "8",  "--timeout", "30 s", "--drain", "--log-level",  "debug"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.dbname, "app");
    EXPECT_EQ(parsed.options.host, "/run");
    EXPECT_EQ(parsed.options.port, "5433");
    EXPECT_EQ(parsed.options.user, "me");
    EXPECT_EQ(parsed.options.queues, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(parsed.options.sql, "SELECT f($1)");
    EXPECT_EQ(parsed.options.jobs, 4);
    EXPECT_EQ(parsed.options.batch, 8);
    EXPECT_EQ(parsed.options.timeout, "30 s");
    EXPECT_TRUE(parsed.options.drain);
    EXPECT_EQ(parsed.options.log_level, "debug");
}

TEST(options, of_two_databases_the_last_counts) {
    const Parsed parsed = parse({"-d", "a", "-d", "b", "--queue", "jobs", "--exec", "true"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.dbname, "b");
}

TEST(options, help_and_version_are_no_errors) {
    const Parsed help = parse({"--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_NE(help.output.find("ECTO_JOB_MAX_ATTEMPTS"), std::string::npos);
    const Parsed version = parse({"--version"});
    EXPECT_EQ(version.status, 0);
    EXPECT_EQ(version.output, "ecto_job_consumer (ecto_job) " ECTO_JOB_VERSION "\n");
}

class Wrong : public testing::TestWithParam<std::vector<const char *>> {};

TEST_P(Wrong, is_a_usage_error_that_points_to_help) {
    std::vector<const char *> argv{"ecto_job_consumer"};
    argv.insert(argv.end(), GetParam().begin(), GetParam().end());
    Options options;
    testing::internal::CaptureStderr();
    const auto status = parse_options(static_cast<int>(argv.size()), argv.data(), options);
    const std::string complaint = testing::internal::GetCapturedStderr();
    EXPECT_EQ(status, 2);
    EXPECT_NE(complaint.find("ecto_job_consumer: "), std::string::npos);
    EXPECT_NE(complaint.find("--help"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    options, Wrong,
    testing::Values(
        std::vector<const char *>{}, // nothing to do
        std::vector<const char *>{"--exec", "true"}, std::vector<const char *>{"--queue", "jobs"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "a", "--sql", "b"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "a", "--exec", "b"},
        // would complete every job without doing anything
        std::vector<const char *>{"--queue", "jobs", "--exec", ""},
        std::vector<const char *>{"--queue", "jobs", "--sql", " \n"},
        std::vector<const char *>{"--queue", "", "--exec", "true"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "0"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "many"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "-1"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--batch", "0"},
        std::vector<const char *>{"--queue", "jobs", "--sql", "SELECT 1", "--per-transaction", "0"},
        // a program has no transaction
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--per-transaction", "2"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--timeout", ""},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--log-level", "loud"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "surplus"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--unknown"}));

} // namespace
