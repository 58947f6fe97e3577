// Makes text of programs and servers, which may contain any bytes, fit for the log and the
// database.
//
// The log has one line for each event. The database accepts only valid UTF-8 without NUL; if it
// refused an error text, the job would have no error.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ecto_job::consumer {

// Returns the text in quotation marks, with line ends and control characters escaped as in JSON.
std::string one_line(std::string_view text);

// Returns the text without NUL, and with U+FFFD for bytes that are not UTF-8.
std::string valid_utf8(std::string_view text);

// Returns at most `limit` bytes of a valid UTF-8 text, cut at the end of a character.
std::string clipped(std::string text, std::size_t limit);

// Returns a valid UTF-8 text with '?' for each character that is not ASCII, which every encoding
// has.
std::string ascii(std::string_view text);

// Keeps the last bytes of a stream, at most `limit`.
class Tail {
public:
    explicit Tail(std::size_t limit) : limit_(limit) {}
    void append(std::string_view bytes);
    // Returns the kept bytes, trimmed, as valid UTF-8, with "..." in place of dropped bytes before
    // them.
    std::string text() const;

private:
    std::size_t limit_;
    std::string kept_;
    bool cut_ = false;
};

} // namespace ecto_job::consumer
