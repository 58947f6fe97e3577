// libpq without waiting: send, flush, consume, and the way back after a loss.
//
// Results count only when the server has said that it is ready again: a COMMIT whose
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

Connection::Connection(const Options &options, std::string name, Statement settings)
    : parameters_(connection_parameters(options)), name_(std::move(name)),
      settings_(std::move(settings)) {}

void Connection::open() {
    PgConnection connection = connect(parameters_);
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
    send({settings_}, [this](const Results &results) { settled(results.back()); });
}

// Without its settings a session works, as long as nothing ends it
void Connection::settled(const Result &result) const {
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

// Behind a pooler that does not pass this on, a server may be a standby
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

void Connection::send(const std::vector<Statement> &statements, Handler handler) {
    handler_ = std::move(handler);
    bool sent = true;
    for (std::size_t i = 0; i < statements.size() && sent; i++)
        sent = send_one(statements[i], i > 0 && statements[i].text == statements[i - 1].text);
    PGconn *const connection = connection_.get();
    const int flushed = sent && PQpipelineSync(connection) == 1 ? PQflush(connection) : -1;
    if (flushed < 0)
        drop(trimmed(PQerrorMessage(connection)));
    else
        unsent_ = flushed > 0;
}

// The unnamed statement stays as it was parsed until the next is. Named ones would save the parsing
// of others, too, but a pooler in transaction mode loses them.
bool Connection::send_one(const Statement &statement, bool parsed) {
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
        // The server's last words, if it had any, say more than that the socket is closed
        const bool told = !results_.empty() && !results_.back().ok();
        return drop(told ? results_.back().message() : trimmed(PQerrorMessage(connection)));
    }
    unsent_ = flushed > 0;
    while (handler_ && PQisBusy(connection) == 0) {
        take(PQgetResult(connection));
        if (connection_.get() != connection)
            return;
    }
    while (PGnotify *const notify = PQnotifies(connection)) {
        on_notification(notify->relname);
        PQfreemem(notify);
    }
}

// After an error come results that say so, which are of no use, and the end of the round trip.
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
        // Null ends the results of one statement
        if (pg_result != nullptr)
            results_.push_back(std::move(result));
        else if (PQstatus(connection_.get()) == CONNECTION_BAD)
            drop(trimmed(PQerrorMessage(connection_.get())));
    }
}

void Connection::finish() {
    if (results_.empty())
        return drop("the server gave no result");
    const Handler handler = std::exchange(handler_, nullptr);
    handler(std::exchange(results_, {}));
}

void Connection::drop(const std::string &why) {
    if (!connection_)
        return;
    connection_.reset();
    unsent_ = false;
    results_.clear();
    retry_later("connection lost: " + why);
    if (const Handler handler = std::exchange(handler_, nullptr)) {
        Results results;
        results.push_back(Result::lost("connection lost: " + why));
        handler(results);
    }
}

} // namespace ecto_job::consumer
