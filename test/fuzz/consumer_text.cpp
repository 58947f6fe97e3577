// The output of programs and servers in any bytes becomes one line for the log, and UTF-8 without
// NUL for the database.
#include "consumer/text.hpp"

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

using namespace ecto_job::consumer;

namespace {

void require(bool truth) {
    if (!truth)
        std::abort();
}

// Checks UTF-8 by the table of RFC 3629: a lead byte determines how many bytes follow, and which
// values the first of them may have
bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const auto lead = static_cast<unsigned char>(text[0]);
        std::size_t length = 1;
        unsigned low = 0x80;
        unsigned high = 0xBF;
        if (lead >= 0xC2 && lead <= 0xDF)
            length = 2;
        else if ((lead & 0xF0U) == 0xE0)
            length = 3, low = lead == 0xE0 ? 0xA0 : low, high = lead == 0xED ? 0x9F : high;
        else if (lead >= 0xF0 && lead <= 0xF4)
            length = 4, low = lead == 0xF0 ? 0x90 : low, high = lead == 0xF4 ? 0x8F : high;
        else if (lead >= 0x80)
            return false;
        if (text.size() < length)
            return false;
        for (std::size_t i = 1; i < length; i++) {
            const auto byte = static_cast<unsigned char>(text[i]);
            if (byte < low || byte > high)
                return false;
            low = 0x80;
            high = 0xBF;
        }
        text.remove_prefix(length);
    }
    return true;
}

void check_text(const std::string &text) {
    const std::string line = one_line(text);
    require(line.size() >= 2 && line.front() == '"' && line.back() == '"' && is_utf8(line));
    require(std::none_of(line.begin(), line.end(),
                         [](char c) { return static_cast<unsigned char>(c) < 0x20; }));

    const std::string valid = valid_utf8(text);
    require(is_utf8(valid) && valid.find('\0') == std::string::npos);
    require(valid_utf8(valid) == valid);
    std::string without_nul = text;
    std::erase(without_nul, '\0');
    require(!is_utf8(text) || valid == without_nul);
}

// The end of the stream is kept, into whatever pieces the stream is cut
void check_tail(FuzzedDataProvider &data) {
    const auto limit = data.ConsumeIntegralInRange<std::size_t>(1, 40);
    Tail tail{limit};
    std::string stream;
    for (int i = 0; i < 8 && data.remaining_bytes() > 0; i++) {
        const std::string piece = data.ConsumeRandomLengthString(50);
        tail.append(piece);
        stream += piece;
    }
    const std::string kept = tail.text();
    require(is_utf8(kept) && kept.find('\0') == std::string::npos);
    Tail whole{limit};
    whole.append(stream);
    require(whole.text() == kept);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    FuzzedDataProvider data{bytes, size};
    check_tail(data);
    check_text(data.ConsumeRemainingBytesAsString());
    return 0;
}
