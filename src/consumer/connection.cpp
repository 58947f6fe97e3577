// libpq without waiting: send, flush, consume, and the way back after a loss.
//
// A result counts only when the server has said that it is ready again: a COMMIT whose
// acknowledgement broke off is a loss, although it may have happened; what follows (fail_job) asks
// the server. The defaults for keepalives and tcp_user_timeout notice within a minute that a server
// vanished without a word; a connection string may say otherwise. No lock.
#include "consumer/connection.hpp"

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

Parameters connection_parameters(const Options &options) {
    Parameters parameters{
        {"fallback_application_name", "ecto_job_consumer"},
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "60000"},
    };
    const auto add = [&](const char *keyword, const std::optional<std::string> &value) {
        if (value)
            parameters.emplace_back(keyword, *value);
    };
    add("host", options.host);
    add("port", options.port);
    add("user", options.user);
    add("dbname", options.dbname); // may be a whole conninfo string: overrides what is above
    // JSON is UTF-8, and so are our error texts
    parameters.emplace_back("client_encoding", "UTF8");
    return parameters;
}

// RAISE and the server's own warnings, in the log beside what they belong to
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

} // namespace

Connection::Connection(const Options &options, std::string name)
    : parameters_(connection_parameters(options)), name_(std::move(name)) {}

void Connection::open() {
    PgConnection connection = connect(parameters_);
    if (PQstatus(connection.get()) != CONNECTION_OK)
        throw Unreachable(trimmed(PQerrorMessage(connection.get())));
    adopt(std::move(connection));
}

void Connection::adopt(PgConnection connection) {
    connection_ = std::move(connection);
    PQsetnonblocking(connection_.get(), 1);
    PQsetNoticeReceiver(connection_.get(), log_notice, &name_);
    backoff_.reset();
    spdlog::info("{}: connected to database {} at {} as {}", name_, PQdb(connection_.get()),
                 PQhost(connection_.get()), PQuser(connection_.get()));
    on_connected();
}

void Connection::retry_later(const std::string &why) {
    const auto delay = backoff_.next();
    retry_at_ = Clock::now() + delay;
    spdlog::warn("{}: {}; next try in {:.1f} s", name_, one_line(why),
                 std::chrono::duration<double>(delay).count());
}

void Connection::tend(Clock::time_point now) {
    if (connection_ || connecting_ || now < retry_at_)
        return;
    try {
        connecting_.emplace(parameters_);
    } catch (const std::exception &error) { // out of threads or descriptors: not for ever
        retry_later(error.what());
    }
}

void Connection::take_connected() {
    try {
        PgConnection connection = connecting_->take();
        connecting_.reset();
        if (PQstatus(connection.get()) == CONNECTION_OK)
            adopt(std::move(connection));
        else
            retry_later(trimmed(PQerrorMessage(connection.get())));
    } catch (const std::exception &error) {
        connecting_.reset();
        retry_later(error.what());
    }
}

void Connection::watch(Poller &poller) {
    if (connecting_) {
        poller.watch(connecting_->fd(), POLLIN, [this] { take_connected(); });
    } else if (connection_) {
        const int events = POLLIN | (unsent_ ? POLLOUT : 0);
        poller.watch(PQsocket(connection_.get()), static_cast<short>(events),
                     [this] { receive(); });
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

void Connection::send(const Statement &statement, Handler handler) {
    std::vector<Oid> types;
    std::vector<const char *> values;
    std::vector<int> lengths;
    std::vector<int> formats;
    for (const Parameter &parameter : statement.parameters) {
        types.push_back(parameter.type);
        values.push_back(parameter.value ? parameter.value->c_str() : nullptr);
        lengths.push_back(parameter.value ? static_cast<int>(parameter.value->size()) : 0);
        formats.push_back(parameter.binary ? 1 : 0);
    }
    PGconn *const connection = connection_.get();
    const int count = static_cast<int>(types.size());
    const char *const text = statement.text.c_str();
    const int sent =
        statement.only_prepare
            ? PQsendPrepare(connection, "", text, count, types.data())
            : PQsendQueryParams(connection, text, count, types.data(), values.data(),
                                lengths.data(), formats.data(), statement.binary_result ? 1 : 0);
    handler_ = std::move(handler);
    const int flushed = sent == 1 ? PQflush(connection) : -1;
    if (flushed < 0)
        drop(trimmed(PQerrorMessage(connection)));
    else
        unsent_ = flushed > 0;
}

void Connection::receive() {
    PGconn *const connection = connection_.get();
    const bool alive = PQconsumeInput(connection) == 1;
    const int flushed = alive ? PQflush(connection) : -1;
    if (flushed < 0) {
        // The server's last words, if it had any, say more than that the socket is closed
        const bool told = result_ && !result_->ok();
        return drop(told ? result_->message() : trimmed(PQerrorMessage(connection)));
    }
    unsent_ = flushed > 0;
    while (handler_ && PQisBusy(connection) == 0) {
        if (PGresult *const result = PQgetResult(connection))
            keep(result);
        else
            finish();
        if (connection_.get() != connection)
            return;
    }
    while (PGnotify *const notify = PQnotifies(connection)) {
        on_notification(notify->relname);
        PQfreemem(notify);
    }
}

// Of several results of one statement the first error counts, or the last result.
void Connection::keep(PGresult *result) {
    const auto status = PQresultStatus(result);
    if (!result_ || result_->ok())
        result_.emplace(result);
    else
        PQclear(result);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
        drop("COPY from or to the client is not possible here");
}

void Connection::finish() {
    if (!result_)
        return drop("the server gave no result");
    const Handler handler = std::exchange(handler_, nullptr);
    const Result result = *std::exchange(result_, std::nullopt);
    handler(result);
}

void Connection::drop(const std::string &why) {
    if (!connection_)
        return;
    connection_.reset();
    unsent_ = false;
    result_.reset();
    retry_later("connection lost: " + why);
    if (const Handler handler = std::exchange(handler_, nullptr))
        handler(Result::lost("connection lost: " + why));
}

} // namespace ecto_job::consumer
