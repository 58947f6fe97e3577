// The thread runs libpq's blocking connect and owns the write end of a pipe. It closes that end
// when it is done, whatever the result, which makes the read end readable.
#include "consumer/connection_attempt.hpp"

#include <new>
#include <thread>

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
    Pipe pipe;
    std::promise<PgConnection> promise;
    connection_ = promise.get_future();
    std::thread([parameters = std::move(parameters), promise = std::move(promise),
                 write_end = std::move(pipe.write_end)]() mutable {
        try {
            promise.set_value(connect(parameters));
        } catch (...) {
            promise.set_exception(std::current_exception());
        }
        write_end.close();
    }).detach();
    done_ = std::move(pipe.read_end);
}

} // namespace ecto_job::consumer
