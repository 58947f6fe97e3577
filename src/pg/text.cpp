// Cutting and copying by characters. See text.hpp.
#include "pg/text.hpp"

#include <algorithm>

namespace ecto_job {

namespace {

int shown_encoding() {
    const int encoding = GetDatabaseEncoding();
    return encoding == PG_SQL_ASCII ? PG_UTF8 : encoding;
}

// Returns how many of the text's `length` bytes are kept if at most `limit` may be: whole
// characters. A character that lacks its end counts as whole.
int clipped_length(const char *text, int length, int limit) {
    return std::min(length, pg_encoding_mbcliplen(shown_encoding(), text, length, limit));
}

} // namespace

text *clipped_text(const char *from, int length, int limit) {
    return cstring_to_text_with_len(from, clipped_length(from, length, limit));
}

void copy_shown_text(char *to, const char *from, int size) {
    const int length = clipped_length(from, static_cast<int>(strlen(from)), size - 1);
    memcpy(to, from, static_cast<Size>(length));
    to[length] = '\0';
    for (int at = 0; at < length;) {
        at += pg_encoding_verifymbstr(shown_encoding(), to + at, length - at);
        if (at < length)
            to[at++] = '?';
    }
}

} // namespace ecto_job
