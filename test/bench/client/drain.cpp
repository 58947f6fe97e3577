// Performs jobs by a script, in several threads, until none is left or enough are done.
//
//   {"connections": 8, "limit": 50000, "times": false, "seconds": 0, "rest_ms": 10,
//    "steps": [{"trip": [{"sql": ..., "use": "claim"}, {"sql": "COMMIT"}]},
//              {"each": [{"sql": ..., "use": "job"}]}]}
//
// A trip is one round trip. `claim`, at most once in a script, returns jobs; `jobs` gets their
// columns as arrays, and is skipped when there are no jobs; `each` is executed once for each job,
// with its columns. The trips before the claim handle the jobs of the previous claim: when enough
// jobs are claimed, these trips are executed once more.
#include "modes.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

struct Shared {
    std::atomic<std::int64_t> claimed{0};
    std::int64_t limit;
    Clock::time_point start;
    Clock::time_point end; // until then the loop continues even when no job is left
};

class Worker {
public:
    Worker(const Json &script, Shared &shared)
        : script_(script), shared_(shared), times_wanted_(script.value("times", false)) {}

    // Fills caches before the measurement starts
    void warm_up() { link_.execute("SELECT 1"); }

    void work() {
        while (shared_.claimed < shared_.limit && (round(true) || rest()))
            ;
        if (!jobs_.empty())
            round(false);
        link_.execute("COMMIT");
    }

    std::vector<std::pair<double, double>>
        times; // of trips that claim: their time, in s, and their duration, in µs

private:
    // Pauses; returns false when the time is over
    bool rest() {
        if (Clock::now() >= shared_.end)
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(script_.value("rest_ms", 10)));
        return true;
    }

    // Executes the script once; returns false when no job was left
    bool round(bool claims) {
        bool found = false;
        for (const Json &step : script_["steps"]) {
            if (step.contains("each")) {
                for (const Row &job : jobs_)
                    for (const Json &statements : step["each"])
                        link_.trip(calls_of(statements, &job));
            } else if (!has_claim(step["trip"])) {
                link_.trip(calls_of(step["trip"]));
            } else if (claims) {
                found = claim(step["trip"]);
            } else {
                link_.trip(calls_of(step["trip"]));
                break;
            }
        }
        return found;
    }

    static bool has_claim(const Json &statements) {
        return std::any_of(statements.begin(), statements.end(),
                           [](const Json &statement) { return is_claim(statement); });
    }

    static bool is_claim(const Json &statement) { return statement.value("use", "") == "claim"; }

    bool claim(const Json &statements) {
        std::vector<Call> calls;
        std::size_t at = 0;
        for (const Json &statement : statements) {
            if (is_claim(statement)) {
                at = calls.size();
                calls.push_back({statement["sql"].get<std::string>(), {}});
            } else {
                add(statement, nullptr, &calls);
            }
        }
        const auto start = Clock::now();
        jobs_ = link_.trip(calls)[at];
        if (times_wanted_)
            times.emplace_back(
                std::chrono::duration<double>(start - shared_.start).count(),
                std::chrono::duration<double, std::micro>(Clock::now() - start).count());
        shared_.claimed += static_cast<std::int64_t>(jobs_.size());
        return !jobs_.empty();
    }

    // Returns the calls of a trip without a claim
    std::vector<Call> calls_of(const Json &statements, const Row *job = nullptr) {
        std::vector<Call> calls;
        for (const Json &statement : statements)
            if (!is_claim(statement))
                add(statement, job, &calls);
        return calls;
    }

    void add(const Json &statement, const Row *job, std::vector<Call> *calls) {
        const auto sql = statement["sql"].get<std::string>();
        const std::string use = statement.value("use", "");
        if (use == "job")
            calls->push_back({sql, columns(*job, parameter_count(sql))});
        else if (use != "jobs")
            calls->push_back({sql, {}});
        else if (!jobs_.empty())
            calls->push_back({sql, arrays(parameter_count(sql))});
    }

    static std::vector<std::string> columns(const Row &job, std::size_t count) {
        return {job.begin(), job.begin() + static_cast<std::ptrdiff_t>(count)};
    }

    std::vector<std::string> arrays(std::size_t count) const {
        std::vector<std::string> arrays(count, "{");
        for (const Row &job : jobs_)
            for (std::size_t column = 0; column < count; column++)
                arrays[column] += (arrays[column].size() > 1 ? "," : "") + job[column];
        for (std::string &array : arrays)
            array += "}";
        return arrays;
    }

    const Json &script_;
    Shared &shared_;
    bool times_wanted_;
    Link link_;
    std::vector<Row> jobs_;
};

} // namespace

Json drain(const Json &script) {
    Shared shared;
    shared.limit = script.value("limit", std::int64_t{1} << 60);
    const auto connections = script.value("connections", 1);
    std::vector<std::unique_ptr<Worker>> workers;
    for (int i = 0; i < connections; i++) {
        workers.push_back(std::make_unique<Worker>(script, shared));
        workers.back()->warm_up();
    }
    shared.start = Clock::now();
    shared.end = shared.start + std::chrono::seconds(script.value("seconds", 0));
    std::vector<std::jthread> threads;
    for (const auto &worker : workers)
        threads.emplace_back([&worker] { worker->work(); });
    threads.clear();
    const std::chrono::duration<double> seconds = Clock::now() - shared.start;
    Json times = Json::array();
    for (const auto &worker : workers)
        for (const auto &time : worker->times)
            times.push_back({time.first, time.second});
    return {{"jobs", shared.claimed.load()}, {"seconds", seconds.count()}, {"times", times}};
}

} // namespace bench
