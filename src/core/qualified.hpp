// Qualification of PostgreSQL's operators in our SQL.
//
// A caller's search_path may contain operators of others, so a statement must write
// OPERATOR(pg_catalog.=), which is hard to read. In our SQL texts `==` stands for
// OPERATOR(pg_catalog.=), and `<`, `+` and the like for theirs, each between blanks; a lone `=`
// assigns. Quoted text is not changed. Elsewhere blanks and line ends become one blank, so a
// statement may be laid out in a raw string.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace ecto_job {

// The operators as our SQL texts write them
inline constexpr std::string_view sql_operators[] = {
    "==", "<>", "<", "<=", ">", ">=", "+", "-", "*", "&", ">>", "||"};

// Writes SQL into a buffer, or counts its bytes where there is none.
class SqlWriter {
public:
    constexpr explicit SqlWriter(char *out) : out_(out) {}

    constexpr std::size_t length() const { return length_; }

    // Writes text that is SQL already.
    constexpr void write(std::string_view text) {
        if (text.empty())
            return;
        if (blank_ && last_ != '\0' && last_ != '(' && text[0] != ')' && text[0] != ',')
            put(' ');
        blank_ = false;
        for (const char c : text)
            put(c);
    }

    // Writes the first token of `sql`: blanks, an operator, quoted text or one character. Returns
    // the rest.
    constexpr std::string_view write_token(std::string_view sql) {
        if (is_blank(sql[0])) {
            blank_ = true;
            return sql.substr(1);
        }
        if (sql[0] == '\'' || sql[0] == '"') {
            std::size_t end = 1;
            while (sql[end] != sql[0])
                end++;
            write(sql.substr(0, end + 1));
            return sql.substr(end + 1);
        }
        // Only behind a blank, also since compilers limit the steps that a constant may take
        if (const auto found = blank_ ? operator_at(sql) : std::string_view(); !found.empty()) {
            write("OPERATOR(pg_catalog.");
            write(found == "==" ? "=" : found);
            write(")");
            return sql.substr(found.size());
        }
        write(sql.substr(0, 1));
        return sql.substr(1);
    }

private:
    static constexpr bool is_blank(char c) { return c == ' ' || c == '\n'; }

    // Returns the operator that `sql` begins with; empty if there is none.
    static constexpr std::string_view operator_at(std::string_view sql) {
        std::size_t end = 0; // string_view's find is no constant under UBSan
        while (end < sql.size() && !is_blank(sql[end]))
            end++;
        for (const std::string_view one : sql_operators)
            if (one == sql.substr(0, end))
                return one;
        return {};
    }

    constexpr void put(char c) {
        if (out_ != nullptr)
            out_[length_] = c;
        length_++;
        last_ = c;
    }

    char *out_;
    std::size_t length_ = 0;
    char last_ = '\0';
    bool blank_ = false; // read, and not written yet
};

// A text as a template's argument
template <std::size_t size> struct SqlText {
    char text[size];

    // NOLINTNEXTLINE(google-explicit-constructor): so that a literal is one
    consteval SqlText(const char (&sql)[size]) : text() { std::copy_n(sql, size, text); }
};

template <SqlText sql>
inline constexpr auto qualified_text = [] {
    constexpr auto write_all = [](char *out) {
        SqlWriter writer(out);
        for (std::string_view rest(sql.text); !rest.empty();)
            rest = writer.write_token(rest);
        return writer.length();
    };
    std::array<char, write_all(nullptr) + 1> out{};
    write_all(out.data());
    return out;
}();

// qualified<"SELECT ... WHERE a == b"> is the text for PostgreSQL, made when it is compiled. It may
// be a format: %s is left as it is.
template <SqlText sql> inline constexpr const char *qualified = qualified_text<sql>.data();

} // namespace ecto_job
