// The end of a wait, and of the claim behind it.
//
// A wait is cancelled, since the server would notice a closed connection only when the wait ends. A
// request that reaches the server before the wait has begun has no effect, so it is repeated. If
// the server does not end the wait all the same, the connection is closed: the server then executes
// no claim after the wait, and a silent server cannot hold up the end of the program.
#include "consumer/idle_wait.hpp"

#include "consumer/protocol.hpp"
#include "consumer/text.hpp"

#include <algorithm>
#include <exception>
#include <spdlog/spdlog.h>

namespace ecto_job::consumer {

namespace {

constexpr auto cancel_interval = std::chrono::milliseconds(200);
constexpr auto patience = std::chrono::seconds(5);
// A wait that ends sooner without a job, such as one under a short statement_timeout, would be a
// search in quick succession.
constexpr auto useful_wait = std::chrono::milliseconds(500);

} // namespace

void IdleWait::begin(const std::vector<std::string> &queues, std::chrono::milliseconds timeout,
                     bool listens, std::optional<Connection::Transaction> claim) {
    active_ = true;
    ending_ = false;
    early_ = Clock::now() + std::min<std::chrono::milliseconds>(timeout, useful_wait);
    std::vector<Connection::Transaction> transactions;
    if (listens || still_listens_)
        transactions.push_back({{{"UNLISTEN *"}}, [this](const Results &results) {
                                    still_listens_ = !results.back().ok();
                                }});
    transactions.push_back({{protocol::wait(queues, timeout)},
                            [this](const Results &results) { on_result(results.back()); }});
    if (claim) {
        claim_pending_ = true;
        transactions.push_back(
            {std::move(claim->statements),
             [this, handler = std::move(claim->handler)](const Results &results) {
                 claim_pending_ = false;
                 handler(results);
             }});
    }
    connection_.send(std::move(transactions));
}

void IdleWait::on_result(const Result &result) {
    active_ = false;
    if (result.verdict() == Verdict::lost)
        return connection_.drop(result.message());
    if (ending_) {
        next_cancel_ = Clock::now() + cancel_interval; // usually the claim ends before
        return;
    }
    if (!result.ok())
        return listen_instead(result.message());
    if (const auto queue = protocol::available_queue(result))
        on_found_(*queue);
    else if (Clock::now() < early_)
        listen_instead("ecto_job.wait_any ends too early, as under a short statement_timeout");
}

void IdleWait::listen_instead(std::string_view why) {
    is_possible_ = false;
    spdlog::info("main connection: listens for jobs in place of waiting: {}", one_line(why));
}

void IdleWait::end(Clock::time_point now) {
    if (!is_pending())
        return;
    if (!std::exchange(ending_, true)) {
        next_cancel_ = now;
        patience_ends_ = now + patience;
    }
    if (now >= patience_ends_)
        return connection_.drop("the server does not end a statement");
    if (now < next_cancel_)
        return;
    next_cancel_ = now + cancel_interval;
    try {
        connection_.cancel();
    } catch (const std::exception &error) { // out of threads or descriptors
        connection_.drop(error.what());
    }
}

void IdleWait::watch(Poller &poller) const {
    if (is_pending() && ending_)
        poller.wake_at(std::min(next_cancel_, patience_ends_));
}

} // namespace ecto_job::consumer
