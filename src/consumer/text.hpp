// Text from programs and servers, which may hold anything: made fit for the log and the database.
//
// The log wants one line an event; the database takes UTF-8 without NUL and nothing else, and an
// error that it refuses would leave the job without one. No lock.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ecto_job::consumer {

// Between quotation marks, with line ends and control characters escaped as in JSON.
std::string one_line(std::string_view text);

// Without NUL, and with U+FFFD for what is not UTF-8.
std::string valid_utf8(std::string_view text);

// The first bytes of a valid UTF-8 text, at most `limit`, without a character that breaks off.
std::string clipped(std::string text, std::size_t limit);

// With '?' for each character of a valid UTF-8 text that is not ASCII: every encoding has that.
std::string ascii(std::string_view text);

// The last bytes of a stream, never more than `limit`.
class Tail {
public:
    explicit Tail(std::size_t limit) : limit_(limit) {}
    void append(std::string_view bytes);
    // What is kept, trimmed, as valid UTF-8; "..." stands for what was dropped before it.
    std::string text() const;

private:
    std::size_t limit_;
    std::string kept_;
    bool cut_ = false;
};

} // namespace ecto_job::consumer
