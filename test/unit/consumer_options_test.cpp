// The command line: what is accepted, what is refused and with which exit status.
#include "consumer/options.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <set>
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
    EXPECT_EQ(parsed.options.snooze, 60);
    EXPECT_TRUE(parsed.options.extend);
    EXPECT_TRUE(parsed.options.flush);
    EXPECT_FALSE(parsed.options.drain);
}

TEST(options, programs_may_be_snoozed_and_leases_left_to_end) {
    const Parsed parsed = parse(
        {"--queue", "jobs", "--exec", "true", "--snooze", "31536000", "--no-extend", "--no-flush"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.snooze, 31'536'000);
    EXPECT_FALSE(parsed.options.extend);
    EXPECT_FALSE(parsed.options.flush);
}

TEST(options, several_jobs_in_a_transaction) {
    const Parsed parsed =
        parse({"--queue", "jobs", "--sql", "SELECT 1", "--per-transaction", "100"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.per_transaction, 100);
}

TEST(options, numbers_go_up_to_their_limits) {
    const Parsed parsed = parse({"--queue", "jobs", "--sql", "SELECT 1", "-j", "400", "--batch",
                                 "10000", "--per-transaction", "10000"});
    ASSERT_FALSE(parsed.status) << parsed.complaint;
    EXPECT_EQ(parsed.options.jobs, 400);
    EXPECT_EQ(parsed.options.batch, 10'000);
    EXPECT_EQ(parsed.options.per_transaction, 10'000);
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
        std::vector<const char *>{}, // no queue
        std::vector<const char *>{"--exec", "true"}, std::vector<const char *>{"--queue", "jobs"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "a", "--sql", "b"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "a", "--exec", "b"},
        // an empty program would complete every job without doing anything
        std::vector<const char *>{"--queue", "jobs", "--exec", ""},
        std::vector<const char *>{"--queue", "jobs", "--sql", " \n"},
        std::vector<const char *>{"--queue", "", "--exec", "true"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "0"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "401"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "many"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "-j", "-1"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--batch", "0"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--batch", "10001"},
        std::vector<const char *>{"--queue", "jobs", "--sql", "SELECT 1", "--per-transaction", "0"},
        std::vector<const char *>{"--queue", "jobs", "--sql", "a", "--per-transaction", "10001"},
        // a program has no transaction
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--per-transaction", "2"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--timeout", ""},
        // a snoozed job that is due at once would be started without end
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--snooze", "0"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--snooze", "31536001"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--snooze", "1 h"},
        // a statement has no exit status, and its transaction keeps its job
        std::vector<const char *>{"--queue", "jobs", "--sql", "a", "--snooze", "60"},
        std::vector<const char *>{"--queue", "jobs", "--sql", "a", "--no-extend"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--log-level", "loud"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "surplus"},
        std::vector<const char *>{"--queue", "jobs", "--exec", "true", "--unknown"}));

// Numbers near the limits, in the forms in which a user may write them
const std::vector<std::string> numbers{
    "0",   "1",  "400",  "401",        "10000",      "10001",
    "-1",  "+5", "0x10", "1e3",        "007",        "99999999999999999999",
    "1.5", "4 ", " 400", "2147483647", "-2147483648"};

// Generates a word: often an option or one of these numbers, in the forms that CLI11 splits;
// otherwise any bytes but NUL.
std::string any_word() {
    static const std::vector<std::string> words{"--queue",
                                                "--exec",
                                                "--sql",
                                                "-j",
                                                "--jobs",
                                                "--batch",
                                                "--per-transaction",
                                                "--snooze",
                                                "--no-extend",
                                                "--no-flush",
                                                "-d",
                                                "-h",
                                                "-p",
                                                "-U",
                                                "-w",
                                                "--log-level",
                                                "--timeout",
                                                "--drain",
                                                "--",
                                                "-",
                                                "",
                                                " \n",
                                                "jobs",
                                                "true",
                                                "info",
                                                "30 s",
                                                "--queue=a",
                                                "-j=4",
                                                "-j4",
                                                "--batch=1",
                                                "-wj2",
                                                "{}",
                                                "[1,2]",
                                                "a,b",
                                                "@file",
                                                "%%DEF%%",
                                                "\"quoted",
                                                "-1.5"};
    switch (*rc::gen::inRange(0, 8)) {
    case 0:
    case 1:
        return *rc::gen::elementOf(numbers);
    case 2: {
        std::string bytes = *rc::gen::arbitrary<std::string>();
        bytes.erase(std::remove(bytes.begin(), bytes.end(), '\0'), bytes.end());
        return bytes;
    }
    default:
        return *rc::gen::elementOf(words);
    }
}

bool is_blank(const std::string &text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// Checks that a random command line ends with a status and a message, or gives valid options
void any_command_line() {
    std::vector<std::string> words{"ecto_job_consumer"};
    // Half of the command lines begin with valid options, so that many are accepted
    if (*rc::gen::arbitrary<bool>()) {
        const std::string work = *rc::gen::elementOf(std::vector<std::string>{"--exec", "--sql"});
        words.insert(words.end(), {"--queue", "jobs", work, "true"});
        for (int i = *rc::gen::inRange(0, 4); i > 0; i--) {
            const std::vector<std::string> with_number{"-j", "--batch", "--per-transaction"};
            words.push_back(*rc::gen::elementOf(with_number));
            words.push_back(*rc::gen::elementOf(numbers));
        }
    }
    for (int i = *rc::gen::inRange(0, 3); i > 0; i--)
        words.push_back(any_word());
    std::vector<const char *> argv;
    for (const std::string &word : words)
        argv.push_back(word.c_str());

    Options options;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const auto status = parse_options(static_cast<int>(argv.size()), argv.data(), options);
    const std::string output = testing::internal::GetCapturedStdout();
    const std::string complaint = testing::internal::GetCapturedStderr();
    RC_TAG(status ? "status " + std::to_string(*status) : "taken");
    if (status) {
        RC_ASSERT((*status == 0 || *status == 2));
        RC_ASSERT((*status == 2) == !complaint.empty());
        RC_ASSERT((*status == 0) == !output.empty());
        return;
    }
    RC_ASSERT((output.empty() && complaint.empty()));
    RC_ASSERT(!options.queues.empty());
    RC_ASSERT(std::none_of(options.queues.begin(), options.queues.end(), is_blank));
    RC_ASSERT(options.exec.has_value() != options.sql.has_value());
    RC_ASSERT(!is_blank(options.exec.value_or(options.sql.value_or(""))));
    RC_ASSERT((options.jobs >= 1 && options.jobs <= 400));
    const int batch = options.batch.value_or(1);
    RC_ASSERT((batch >= 1 && batch <= 10'000));
    RC_ASSERT((options.per_transaction >= 1 && options.per_transaction <= 10'000));
    RC_ASSERT((options.per_transaction == 1 || options.sql));
    RC_ASSERT((options.snooze >= 1 && options.snooze <= 31'536'000));
    RC_ASSERT((options.extend || options.exec));
    RC_ASSERT(!is_blank(options.timeout.value_or("as the queue says")));
    static const std::set<std::string> levels{"debug", "info", "warning", "error", "off"};
    RC_ASSERT(levels.count(options.log_level) == 1);
}

RC_GTEST_PROP(options_of_any_words, make_sense_or_are_refused, ()) {
    any_command_line();
}

} // namespace
