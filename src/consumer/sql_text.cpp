// The first word of the statement decides. The server accepts only one statement, and only a
// transaction command ends a transaction: COMMIT within a procedure is an error there.
//
// Before the first word PostgreSQL's scanner skips blanks, comments (those in /* */ nest) and empty
// statements, and so does this check.
#include "consumer/sql_text.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace ecto_job::consumer {

namespace {

constexpr std::array<std::string_view, 9> transaction_control{
    "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE"};

// Returns the length of the comment at the beginning, or 0 if there is none.
std::size_t comment_length(std::string_view sql) {
    if (sql.starts_with("--"))
        return std::min(sql.find_first_of("\r\n"), sql.size());
    if (!sql.starts_with("/*"))
        return 0;
    std::size_t depth = 0;
    for (std::size_t i = 0; i + 1 < sql.size(); i++) {
        const std::string_view two = sql.substr(i, 2);
        if (two == "/*")
            depth++;
        else if (two == "*/")
            depth--;
        else
            continue;
        i++;
        if (depth == 0)
            return i + 1;
    }
    return sql.size();
}

std::string_view after_comments(std::string_view sql) {
    for (;;) {
        sql.remove_prefix(std::min(sql.find_first_not_of(" \t\r\n\v\f;"), sql.size()));
        const std::size_t length = comment_length(sql);
        if (length == 0)
            return sql;
        sql.remove_prefix(length);
    }
}

bool in_identifier(char byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '_' ||
           byte == '$' || static_cast<unsigned char>(byte) >= 0x80U;
}

std::string upper(std::string_view text) {
    std::string result(text);
    for (char &letter : result)
        if (letter >= 'a' && letter <= 'z')
            letter = static_cast<char>(letter - 'a' + 'A');
    return result;
}

} // namespace

std::string why_not_in_transaction(const std::string &sql) {
    const std::string text = upper(after_comments(sql));
    if (text.empty())
        return "must not be empty";
    const std::string word(text.begin(), std::find_if_not(text.begin(), text.end(), in_identifier));
    if (std::find(transaction_control.begin(), transaction_control.end(), word) !=
        transaction_control.end())
        return word + " is not possible: the statement is executed in the transaction that"
                      " completes the job";
    // This also refuses a table or a string with such a word; use a function for these.
    if (word == "COPY" &&
        (text.find("STDIN") != std::string::npos || text.find("STDOUT") != std::string::npos))
        return "COPY from or to the client is not possible";
    return {};
}

} // namespace ecto_job::consumer
