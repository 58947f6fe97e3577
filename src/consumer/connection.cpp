// Connection uses libpq without blocking: it sends, flushes and consumes, and reconnects after a
// loss.
//
// Results count only when the server has reported that it is ready again. A COMMIT whose
// acknowledgement was lost counts as a loss, although it may have succeeded; fail_job, which
// follows, finds out. The defaults for keepalives and tcp_user_timeout detect a silent server
// within a minute; a connection string may override them.
#include "consumer/connection.hpp"

#include "consumer/background.hpp"
#include "consumer/text.hpp"

#include <exception>
#include <spdlog/spdlog.h>
#include <utility>

namespace ecto_job::consumer {

namespace {

std::string trimmed(const char *message) {
    std::string text = message;
    text.erase(text.find_last_not_of(" \n") + 1);
    return text;
}

ConnectionOptions connection_options(const Options &options) {
    ConnectionOptions result{
        {"fallback_application_name", "ecto_job_consumer"},
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "60000"},
    };
    const auto add = [&](const char *keyword, const std::optional<std::string> &value) {
        if (value)
            result.emplace_back(keyword, *value);
    };
    add("host", options.host);
    add("port", options.port);
    add("user", options.user);
    add("dbname", options.dbname); // may be a conninfo string, which overrides the values above
    // JSON and the program's error texts are UTF-8.
    result.emplace_back("client_encoding", "UTF8");
    return result;
}

// Writes notices of RAISE and of the server to the log.
void log_notice(void *name, const PGresult *notice) {
    const char *const severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const std::string_view kind = severity == nullptr ? "" : severity;
    auto level = spdlog::level::info;
    if (kind == "DEBUG")
        level = spdlog::level::debug;
    else if (kind != "NOTICE" && kind != "INFO" && kind != "LOG")
        level = spdlog::level::warn;
    spdlog::log(level, "{}: the server says: {}", *static_cast<const std::string *>(name),
                one_line(trimmed(PQresultErrorMessage(notice))));
}

// PQcancel has no limit of its own against a server or pooler that stands still
constexpr auto cancellation_limit = std::chrono::seconds(10);

} // namespace

Connection::Connection(const Options &options, std::string name, Statement settings)
    : connection_options_(connection_options(options)), name_(std::move(name)),
      settings_(std::move(settings)) {}

void Connection::open() {
    PgConnection connection = connect(connection_options_);
    if (PQstatus(connection.get()) != CONNECTION_OK)
        throw Unreachable(trimmed(PQerrorMessage(connection.get())));
    adopt(std::move(connection));
}

void Connection::adopt(PgConnection connection) {
    connection_ = std::move(connection);
    PQsetnonblocking(connection_.get(), 1);
    PQenterPipelineMode(connection_.get());
    PQsetNoticeReceiver(connection_.get(), log_notice, &name_);
    backoff_.reset();
    spdlog::info("{}: connected to database {} at {} as {}", name_, PQdb(connection_.get()),
                 PQhost(connection_.get()), PQuser(connection_.get()));
    on_connected();
    send({settings_}, [this](const Results &results) { on_settings_result(results.back()); });
}

// Logs which settings were changed. If the statement failed, the session is used nevertheless.
void Connection::on_settings_result(const Result &result) const {
    if (!result.ok()) {
        if (connection_)
            spdlog::warn("{}: its session keeps the settings that it was given: {}", name_,
                         one_line(result.message()));
        return;
    }
    for (int row = 0; row < result.rows(); row++)
        spdlog::info("{}: set for this session: {} = {}, was {}", name_, result.get(row, 0),
                     result.get(row, 1), result.get(row, 2));
}

// Returns whether the server reports that it is a primary. A pooler may not pass the report on.
bool Connection::of_primary() const {
    const char *const standby = PQparameterStatus(connection_.get(), "in_hot_standby");
    return standby != nullptr && std::string_view(standby) == "off";
}

void Connection::retry_later(const std::string &why) {
    const auto delay = backoff_.next();
    retry_at_ = Clock::now() + delay;
    spdlog::warn("{}: {}; next try in {:.1f} s", name_, one_line(why),
                 std::chrono::duration<double>(delay).count());
}

void Connection::step(Clock::time_point now) {
    if (cancellation_ && now >= cancellation_ends_)
        drop("the server does not take a request to cancel");
    if (connection_ || attempt_ || now < retry_at_)
        return;
    try {
        attempt_.emplace(connection_options_);
    } catch (const std::exception &error) { // out of threads or descriptors: temporary
        retry_later(error.what());
    }
}

void Connection::take_attempt() {
    try {
        PgConnection connection = attempt_->take();
        attempt_.reset();
        if (PQstatus(connection.get()) == CONNECTION_OK)
            adopt(std::move(connection));
        else
            retry_later(trimmed(PQerrorMessage(connection.get())));
    } catch (const std::exception &error) {
        attempt_.reset();
        retry_later(error.what());
    }
}

void Connection::watch(Poller &poller) {
    if (attempt_) {
        poller.watch(attempt_->fd(), POLLIN, [this] { take_attempt(); });
    } else if (connection_) {
        const int events = POLLIN | (unsent_ ? POLLOUT : 0);
        poller.watch(PQsocket(connection_.get()), static_cast<short>(events),
                     [this] { receive(); });
        if (cancellation_) {
            poller.watch(cancellation_->get(), POLLIN, [this] { cancellation_.reset(); });
            poller.wake_at(cancellation_ends_);
        }
    } else {
        poller.wake_at(retry_at_);
    }
}

bool Connection::in_transaction() const {
    const auto status = PQtransactionStatus(connection_.get());
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

std::string Connection::identifier(const std::string &name) const {
    const std::unique_ptr<char, decltype(&PQfreemem)> quoted(
        PQescapeIdentifier(connection_.get(), name.data(), name.size()), PQfreemem);
    if (!quoted)
        throw std::runtime_error(trimmed(PQerrorMessage(connection_.get())));
    return quoted.get();
}

void Connection::send(std::vector<Statement> statements, Handler handler) {
    std::vector<Transaction> transactions;
    transactions.push_back({std::move(statements), std::move(handler)});
    send(std::move(transactions));
}

void Connection::send(std::vector<Transaction> transactions) {
    bool sent = true;
    for (Transaction &transaction : transactions) {
        handlers_.push_back(std::move(transaction.handler));
        sent = sent && send_transaction(transaction.statements);
    }
    PGconn *const connection = connection_.get();
    const int flushed = sent ? PQflush(connection) : -1;
    if (flushed < 0)
        drop(trimmed(PQerrorMessage(connection)));
    else
        unsent_ = flushed > 0;
}

bool Connection::send_transaction(const std::vector<Statement> &statements) {
    bool sent = true;
    for (std::size_t i = 0; i < statements.size() && sent; i++)
        sent = send_one(statements[i], i > 0 && statements[i].text == statements[i - 1].text);
    return sent && PQpipelineSync(connection_.get()) == 1;
}

// Sends one statement. The unnamed prepared statement stays valid until the next one is parsed, so
// an equal statement need not be parsed again (`parsed`). Named statements would save more parsing,
// but a pooler in transaction mode loses them.
bool Connection::send_one(const Statement &statement, bool parsed) {
    std::vector<Oid> types;
    std::vector<const char *> values;
    std::vector<int> lengths;
    std::vector<int> formats;
    for (const ParameterValue &parameter : statement.parameters) {
        types.push_back(parameter.type);
        values.push_back(parameter.value ? parameter.value->c_str() : nullptr);
        lengths.push_back(parameter.value ? static_cast<int>(parameter.value->size()) : 0);
        formats.push_back(parameter.binary ? 1 : 0);
    }
    PGconn *const connection = connection_.get();
    const int count = static_cast<int>(types.size());
    const char *const text = statement.text.c_str();
    const int result_format = statement.binary_result ? 1 : 0;
    if (statement.only_prepare)
        return PQsendPrepare(connection, "", text, count, types.data()) == 1;
    if (parsed)
        return PQsendQueryPrepared(connection, "", count, values.data(), lengths.data(),
                                   formats.data(), result_format) == 1;
    return PQsendQueryParams(connection, text, count, types.data(), values.data(), lengths.data(),
                             formats.data(), result_format) == 1;
}

void Connection::receive() {
    PGconn *const connection = connection_.get();
    const bool alive = PQconsumeInput(connection) == 1;
    const int flushed = alive ? PQflush(connection) : -1;
    if (flushed < 0) {
        // Prefer the server's last error message to "socket closed".
        const bool told = !results_.empty() && !results_.back().ok();
        return drop(told ? results_.back().message() : trimmed(PQerrorMessage(connection)));
    }
    unsent_ = flushed > 0;
    while (!handlers_.empty() && PQisBusy(connection) == 0) {
        take(PQgetResult(connection));
        if (connection_.get() != connection)
            return;
    }
    while (PGnotify *const notify = PQnotifies(connection)) {
        on_notification(notify->relname);
        PQfreemem(notify);
    }
}

// Stores a result. After an error the remaining statements give PGRES_PIPELINE_ABORTED.
void Connection::take(PGresult *pg_result) {
    Result result(pg_result, of_primary());
    switch (PQresultStatus(pg_result)) {
    case PGRES_PIPELINE_SYNC:
        return finish();
    case PGRES_PIPELINE_ABORTED:
        return;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return drop("COPY from or to the client is not possible here");
    default:
        // A null pointer ends the results of one statement.
        if (pg_result != nullptr)
            results_.push_back(std::move(result));
        else if (PQstatus(connection_.get()) == CONNECTION_BAD)
            drop(trimmed(PQerrorMessage(connection_.get())));
    }
}

void Connection::finish() {
    if (results_.empty())
        return drop("the server gave no result");
    const Handler handler = std::move(handlers_.front());
    handlers_.pop_front();
    handler(std::exchange(results_, {}));
}

void Connection::drop(const std::string &why) {
    if (!connection_)
        return;
    connection_.reset();
    unsent_ = false;
    results_.clear();
    cancellation_.reset();
    retry_later("connection lost: " + why);
    for (const Handler &handler : std::exchange(handlers_, {})) {
        Results results;
        results.push_back(Result::lost("connection lost: " + why));
        handler(results);
    }
}

void Connection::cancel() {
    if (cancellation_)
        return;
    struct Free {
        void operator()(PGcancel *request) const { PQfreeCancel(request); }
    };
    cancellation_ends_ = Clock::now() + cancellation_limit;
    std::unique_ptr<PGcancel, Free> request(PQgetCancel(connection_.get()));
    cancellation_ = in_background([request = std::move(request)] {
        char error[256];
        PQcancel(request.get(), error, sizeof error);
    });
}

} // namespace ecto_job::consumer
