// Single jobs: one process enqueues and another waits. Both read the machine's clock, which is the
// server's, so that times can be compared with each other and with a job's schedule.
#include "modes.hpp"

#include <fcntl.h>
#include <iostream>
#include <random>
#include <thread>
#include <unistd.h>

namespace bench {

namespace {

void sleep_until_us(std::int64_t time) {
    const std::int64_t left = time - now_us();
    if (left > 0)
        std::this_thread::sleep_for(std::chrono::microseconds(left));
}

std::string number(double value) {
    return std::to_string(value);
}

} // namespace

// Enqueues jobs at random times. Task: {"sql": INSERT of $1 = n and optionally $2 = seconds until
// the job is due, "count", "gap_us": mean, "delay": [from, to] seconds}. Result: {"committed":
// [[n, us], ...]}, with the times at which COMMIT was acknowledged. The loop is open: a late
// acknowledgement does not postpone other jobs.
Json produce(const Json &script) {
    Link link;
    const auto sql = script["sql"].get<std::string>();
    const bool delayed = parameter_count(sql) > 1;
    std::mt19937_64 random(script.value("seed", 1U));
    std::exponential_distribution<double> gap(1.0 / script["gap_us"].get<double>());
    std::uniform_real_distribution<double> delay(delayed ? script["delay"][0].get<double>() : 0,
                                                 delayed ? script["delay"][1].get<double>() : 1);
    const int count = script["count"];
    Json committed = Json::array();
    link.query("SELECT 1");
    auto next = static_cast<double>(now_us());
    for (int n = 0; n < count; n++) {
        next += gap(random);
        sleep_until_us(static_cast<std::int64_t>(next));
        std::vector<std::string> parameters{std::to_string(n)};
        if (delayed)
            parameters.push_back(number(delay(random)));
        link.query(sql, parameters);
        committed.push_back({n, now_us()});
    }
    return {{"committed", committed}};
}

// Waits for jobs. Task: {"listen": channel, "poll_ms", or "wait": the CALL that waits in the server
// and is sent together with the claim, as a transaction of its own; "claim": SQL that returns (n,
// id, lease, attempt, schedule, expires), "first": SQL for a job at its first attempt, "then": at
// later attempts ($1 = id, $2 = lease), "count": jobs to be done, "limit_ms"}. Result: {"started":
// [[n, attempt, us, schedule, expires, us of the last wake-up], ...], "heard", "polled", "claims"}.
// Rows without n are not measured, and wait behind all others: after a claim that finds no other
// row the client waits.
Json consume(const Json &script) {
    Link link;
    const auto claim = script["claim"].get<std::string>();
    const std::string first = script.value("first", "");
    const std::string then = script.value("then", "");
    const std::string begin = script.value("begin", "");
    const std::string wait = script.value("wait", "");
    const std::int64_t limit = now_us() + 1000 * script.value("limit_ms", std::int64_t{600'000});
    const int count = script["count"];
    if (wait.empty() && script.contains("listen"))
        link.execute("LISTEN " + script["listen"].get<std::string>());
    Json started = Json::array();
    int done = 0;
    int heard = 0;
    int polled = 0;
    int claims = 0;
    // "ready" is written to standard error, since standard output has only the result
    bool announced = false;
    std::int64_t woken = now_us();
    while (done < count && now_us() < limit) {
        for (bool found = true; found && done < count;) {
            std::vector<Row> jobs;
            if (announced && !wait.empty()) {
                const std::vector<std::vector<Row>> results =
                    link.transactions({{wait, {}}, {claim, {}}});
                jobs = results[1];
            } else {
                jobs = link.query(claim);
            }
            claims++;
            found = false;
            for (const Row &job : jobs) {
                if (job[0].empty())
                    continue;
                found = true;
                const std::vector<std::string> all{job[1], job[2]};
                if (!begin.empty())
                    link.query(begin, all);
                const std::int64_t now = now_us();
                started.push_back({std::stoi(job[0]), std::stoi(job[3]), now,
                                   job[4].empty() ? 0 : std::stod(job[4]),
                                   job[5].empty() ? 0 : std::stod(job[5]), woken});
                const bool is_first = std::stoi(job[3]) <= 1;
                const std::string &sql = is_first ? first : then;
                if (!sql.empty()) {
                    link.query(sql, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(
                                                                    parameter_count(sql))});
                }
                if (!is_first || then.empty())
                    done++;
            }
        }
        if (!announced)
            std::cerr << "ready" << std::endl; // NOLINT(performance-avoid-endl)
        announced = true;
        if (done < count && wait.empty()) {
            const bool notified = link.wait_for_notification(script.value("poll_ms", 60'000));
            woken = now_us();
            (notified ? heard : polled)++;
        }
    }
    return {{"started", started}, {"heard", heard}, {"polled", polled}, {"claims", claims}};
}

// {"statements": [...]}: prints the first column of the last statement, and then waits to be killed
Json hold(const Json &script) {
    Link link;
    std::vector<Row> rows;
    for (const Json &sql : script["statements"])
        rows = link.query(sql);
    Json ids = Json::array();
    for (const Row &row : rows)
        ids.push_back(row.at(0));
    std::cout << ids.dump() << std::endl; // NOLINT(performance-avoid-endl)
    for (;;)
        pause();
}

// Appends "n us\n" to the file that STAMPS names; the params are on standard input
Json stamp(const Json &params) {
    const std::int64_t now = now_us();
    const std::string line =
        std::to_string(params.value("n", -1)) + " " + std::to_string(now) + "\n";
    const char *const path = getenv("STAMPS"); // NOLINT(concurrency-mt-unsafe)
    const int file = path == nullptr ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file < 0 || write(file, line.data(), line.size()) < 0)
        throw std::runtime_error("STAMPS names no file that can be written");
    close(file);
    return nullptr;
}

} // namespace bench
