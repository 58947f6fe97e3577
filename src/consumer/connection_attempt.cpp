// The thread runs libpq's blocking connect, and passes the connection or the exception on by a
// promise.
#include "consumer/connection_attempt.hpp"

#include "consumer/background.hpp"

#include <new>

namespace ecto_job::consumer {

PgConnection connect(const ConnectionOptions &parameters) {
    std::vector<const char *> keywords;
    std::vector<const char *> values;
    for (const auto &[keyword, value] : parameters) {
        keywords.push_back(keyword.c_str());
        values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    PgConnection connection(PQconnectdbParams(keywords.data(), values.data(), 1));
    if (!connection)
        throw std::bad_alloc();
    return connection;
}

ConnectionAttempt::ConnectionAttempt(ConnectionOptions parameters) {
    std::promise<PgConnection> promise;
    connection_ = promise.get_future();
    done_ =
        in_background([parameters = std::move(parameters), promise = std::move(promise)]() mutable {
            try {
                promise.set_value(connect(parameters));
            } catch (...) {
                promise.set_exception(std::current_exception());
            }
        });
}

} // namespace ecto_job::consumer
