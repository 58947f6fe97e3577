// Child with real programs: their input and environment, the text that is kept of their standard
// error, and the reports of their ends.
#include "consumer/child.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <system_error>

using namespace ecto_job::consumer;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

// Serves the program until it has ended. The test handles no SIGCHLD, hence the short waits.
void serve(Child &child) {
    Poller poller;
    while (!child.ended()) {
        child.watch(poller);
        poller.wake_at(Clock::now() + 5ms);
        poller.wait();
    }
}

// The end of a program. Its standard error, which Child copies to the test's, is captured.
struct Ended {
    std::optional<std::string> failure;
    std::optional<int> exit_status;
    std::string complaint;
    std::string passed_on;
};

Ended run(const std::string &command, const std::string &input = "",
          const std::vector<std::string> &variables = {}) {
    testing::internal::CaptureStderr();
    std::string taken = input;
    Child child(command, variables, std::move(taken));
    serve(child);
    return {child.failure(), child.exit_status(), child.stderr_tail(),
            testing::internal::GetCapturedStderr()};
}

TEST(child, exit_status_decides) {
    EXPECT_EQ(run("true").failure, std::nullopt);
    EXPECT_EQ(run("true").exit_status, 0);
    EXPECT_EQ(run("exit 3").failure, "exit status 3");
    EXPECT_EQ(run("exit 75").exit_status, 75);
    EXPECT_EQ(run("no-such-program-anywhere").failure, "exit status 127");
}

TEST(child, death_by_a_signal_is_told) {
    EXPECT_EQ(run("kill -9 $$").failure, "killed by signal 9");
    EXPECT_EQ(run("kill -9 $$").exit_status, std::nullopt);
}

TEST(child, gets_every_byte_of_its_input) {
    std::string input;
    for (int i = 0; i < 1'000'000; i++) // more than a pipe holds
        input += static_cast<char>(i % 256);
    EXPECT_EQ(run("test $(wc -c) = 1000000", input).failure, std::nullopt);
    EXPECT_EQ(run("od -An -tx1 >&2", "a\0\xff"s).complaint, "61 00 ff");
}

TEST(child, need_not_read_its_input) {
    ASSERT_NE(std::signal(SIGPIPE, SIG_IGN), SIG_ERR);
    EXPECT_EQ(run("exec <&-; exit 0", std::string(1'000'000, 'x')).failure, std::nullopt);
    EXPECT_EQ(run("exec <&-; sleep 0.1; exit 4", std::string(1'000'000, 'x')).failure,
              "exit status 4");
}

TEST(child, error_output_is_passed_on_and_its_end_kept) {
    const Ended ended = run("echo first >&2; seq 100000 >&2");
    EXPECT_EQ(ended.passed_on.substr(0, 8), "first\n1\n");
    EXPECT_EQ(ended.passed_on.size(), 6U + 588'895U);
    EXPECT_EQ(ended.complaint.substr(0, 3), "...");
    EXPECT_LE(ended.complaint.size(), 7'003U);
    EXPECT_EQ(ended.complaint.substr(ended.complaint.size() - 6), "100000");
}

TEST(child, may_close_its_error_output) {
    EXPECT_EQ(run("exec 2>&-; exit 6").failure, "exit status 6");
}

TEST(child, that_writes_without_end_does_not_keep_us) {
    testing::internal::CaptureStderr();
    Child child("cat /dev/zero >&2", {}, "");
    Poller poller;
    for (int i = 0; i < 5; i++) {
        child.watch(poller);
        poller.wait();
    }
    child.kill(SIGKILL);
    serve(child);
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(child.failure(), "killed by signal 9");
}

TEST(child, what_it_leaves_behind_is_not_waited_for) {
    const auto start = Clock::now();
    EXPECT_EQ(run("sleep 20 & exit 5").failure, "exit status 5");
    EXPECT_LT(Clock::now() - start, 10s);
}

TEST(child, has_our_environment_with_its_job_s_variables) {
    // NOLINTBEGIN(concurrency-mt-unsafe): there is no other thread
    setenv("ECTO_JOB_META", "somebody else's", 1);
    setenv("CHILD_TEST", "ours", 1);
    EXPECT_EQ(
        run("echo \"$ECTO_JOB_ID,$CHILD_TEST,${ECTO_JOB_META-none}\" >&2", "", {"ECTO_JOB_ID=7"})
            .complaint,
        "7,ours,none");
    unsetenv("ECTO_JOB_META");
}

TEST(child, does_not_get_the_consumers_own_trace) {
    setenv("TRACEPARENT", "the consumer's", 1);
    setenv("TRACESTATE", "the consumer's", 1);
    EXPECT_EQ(run("echo \"${TRACEPARENT-none},${TRACESTATE-none}\" >&2").complaint, "none,none");
    EXPECT_EQ(run("echo \"$TRACEPARENT\" >&2", "", {"TRACEPARENT=the job's"}).complaint,
              "the job's");
    unsetenv("TRACEPARENT");
    unsetenv("TRACESTATE");
    // NOLINTEND(concurrency-mt-unsafe)
}

TEST(child, signals_are_as_a_program_expects_them) {
    ASSERT_NE(std::signal(SIGPIPE, SIG_IGN), SIG_ERR);
    // If the program inherited the ignored SIGPIPE, yes would complain of a broken pipe
    EXPECT_EQ(run("yes | head -n 1 >/dev/null").complaint, "");
}

TEST(child, a_signal_reaches_what_the_shell_started) {
    testing::internal::CaptureStderr();
    Child child("sleep 30; exit 0", {}, "");
    child.kill(SIGTERM);
    serve(child);
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(child.failure(), "killed by signal 15");
}

TEST(child, that_cannot_start_is_an_error_and_has_not_taken_its_input) {
    std::string input = "the job's";
    EXPECT_THROW(Child("true", {"ECTO_JOB_META=" + std::string(1'000'000, 'x')}, std::move(input)),
                 std::system_error);
    EXPECT_EQ(input, "the job's"); // NOLINT(bugprone-use-after-move): that is what is tested
}

} // namespace
