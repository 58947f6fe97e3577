// The language of a queue's statements, in which one text serves all layouts of tables. The
// language is SQL with four rules:
//
//   ==  <  +  ...     between blanks: PostgreSQL's operator (core/qualified.hpp)
//   :name             a parameter (queue/parameters.hpp)
//   {word argument}   what differs from table to table:
//       {table}             the table
//       {column updated_at} the name of this column, or of inserted_at
//       {if_priority ...}   the argument, if the table has the column priority
//       {unless_priority ...} the argument, if the table has not. The two words exist also for
//                           in_play, inserted_at, updated_at, for binary params, and for
//                           retry_delay, options of the retry back-off
//       {as_schedule ...}   the argument, converted between timestamptz and the type of the column
//                           schedule, whatever the session's TimeZone. Convert the parameter and
//                           not the column where an index on the column shall be used. The word
//                           exists also for expires, inserted_at, updated_at
//   {word argument}   a fragment, itself in this language, in which @ stands for the argument
//
// What is not in the language does not compile.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "core/qualified.hpp"
#include "core/table_layout.hpp"
#include "queue/parameters.hpp"

namespace ecto_job {

// A queue's table, as its statements name it
struct TableText {
    std::string_view table;       // qualified, and quoted where needed
    std::string_view inserted_at; // quoted where needed; empty: there is no such column
    std::string_view updated_at;
    bool binary;
    TableLayout layout;
    bool retry_delay = false; // the queue has options of the retry back-off
};

struct Fragment {
    std::string_view word, text;
};

// Ends the compilation with an error, since abort() is no constant.
[[noreturn]] inline void not_in_the_language() {
    std::abort();
}

// Returns the position of a parameter in `parameters`.
constexpr std::uint8_t parameter_named(std::string_view name) {
    for (std::uint8_t at = 0; at < parameter_count; at++)
        if (parameters[at].name == name)
            return at;
    not_in_the_language();
}

// The parameters of a statement, in the order in which the text first names them
class Signature {
public:
    // Returns their positions in `parameters`.
    constexpr std::span<const std::uint8_t> parameters_used() const {
        return {used_.data(), count_};
    }

    // Returns PostgreSQL's number of the parameter. A new parameter is added.
    constexpr int number_of(std::uint8_t parameter) {
        int number = 1;
        for (const std::uint8_t known : parameters_used()) {
            if (known == parameter)
                return number;
            number++;
        }
        used_[count_++] = parameter;
        return number;
    }

private:
    std::array<std::uint8_t, parameter_count> used_{};
    std::size_t count_ = 0;
};

// The expansion of one statement for one table
class Expansion {
public:
    constexpr Expansion(std::span<const Fragment> fragments, const TableText &table,
                        Signature &signature, char *out)
        : fragments_(fragments), table_(table), signature_(signature), writer_(out) {}

    // Returns the length of the text.
    constexpr std::size_t expand(std::string_view text) {
        write(text, nullptr);
        return writer_.length();
    }

private:
    // What @ stands for
    struct Argument {
        std::string_view text;
        const Argument *outer; // of the fragment that the argument was written in
    };

    constexpr void write(std::string_view text, const Argument *argument) {
        while (!text.empty()) {
            if (text.starts_with("::")) {
                writer_.write("::");
                text.remove_prefix(2);
            } else if (text[0] == ':') {
                text = write_parameter(text.substr(1));
            } else if (text[0] == '@') {
                if (argument == nullptr)
                    not_in_the_language();
                write(argument->text, argument->outer);
                text.remove_prefix(1);
            } else if (text[0] == '{') {
                const std::size_t end = end_of_word(text);
                write_word(text.substr(1, end - 1), argument);
                text.remove_prefix(end + 1);
            } else {
                text = writer_.write_token(text);
            }
        }
    }

    static constexpr std::size_t length_of_name(std::string_view text) {
        std::size_t length = 0;
        while (length < text.size() &&
               ((text[length] >= 'a' && text[length] <= 'z') || text[length] == '_'))
            length++;
        return length;
    }

    // Returns where the word ends that `text` begins with. Braces in quotes belong to an array.
    static constexpr std::size_t end_of_word(std::string_view text) {
        int depth = 0;
        bool quoted = false;
        for (std::size_t at = 0; at < text.size(); at++) {
            quoted ^= text[at] == '\'';
            if (!quoted && text[at] == '{')
                depth++;
            if (!quoted && text[at] == '}' && --depth == 0)
                return at;
        }
        not_in_the_language();
    }

    constexpr void write_number(int number) {
        const char digits[] = {static_cast<char>('0' + number / 10),
                               static_cast<char>('0' + number % 10)};
        writer_.write("$");
        writer_.write({number < 10 ? digits + 1 : digits, std::end(digits)});
    }

    // Returns what follows the parameter that `text` begins with.
    constexpr std::string_view write_parameter(std::string_view text) {
        const std::string_view name = text.substr(0, length_of_name(text));
        text.remove_prefix(name.size());
        write_number(signature_.number_of(parameter_named(name)));
        return text;
    }

    constexpr void write_word(std::string_view inside, const Argument *outer) {
        const std::string_view word = inside.substr(0, length_of_name(inside));
        inside.remove_prefix(std::min(word.size() + 1, inside.size()));
        const Argument argument{inside, outer};
        if (word == "table")
            writer_.write(table_.table);
        else if (word == "column")
            writer_.write(column(inside));
        else if (word.starts_with("if_") || word.starts_with("unless_"))
            write_if(word, argument);
        else if (word.starts_with("as_"))
            write_time(word.substr(3), argument);
        else
            write(fragment(word), &argument);
    }

    // Writes a time as the column's type. PostgreSQL's function is its own inverse.
    constexpr void write_time(std::string_view column, const Argument &time) {
        const bool is_utc = is_utc_column(column);
        if (is_utc)
            writer_.write("pg_catalog.timezone('UTC', ");
        write(time.text, time.outer);
        if (is_utc)
            writer_.write(")");
    }

    constexpr void write_if(std::string_view word, const Argument &argument) {
        const bool wanted = word.starts_with("if_");
        if (has(word.substr(wanted ? 3 : 7)) == wanted)
            write(argument.text, argument.outer);
    }

    constexpr bool has(std::string_view what) const {
        return what == "priority"      ? table_.layout.priority
               : what == "in_play"     ? table_.layout.in_play
               : what == "binary"      ? table_.binary
               : what == "retry_delay" ? table_.retry_delay
                                       : !column(what).empty();
    }

    constexpr std::string_view column(std::string_view name) const {
        if (name == "inserted_at")
            return table_.inserted_at;
        if (name == "updated_at")
            return table_.updated_at;
        not_in_the_language();
    }

    constexpr bool is_utc_column(std::string_view column) const {
        if (column == "schedule")
            return table_.layout.utc_schedule;
        if (column == "expires")
            return table_.layout.utc_expires;
        if (column == "inserted_at")
            return table_.layout.utc_inserted_at;
        if (column == "updated_at")
            return table_.layout.utc_updated_at;
        not_in_the_language();
    }

    constexpr std::string_view fragment(std::string_view word) const {
        for (const Fragment &fragment : fragments_)
            if (fragment.word == word)
                return fragment.text;
        not_in_the_language();
    }

    std::span<const Fragment> fragments_;
    const TableText &table_;
    Signature &signature_;
    SqlWriter writer_;
};

// Returns the parameters of a statement. The text is expanded for a table with all optional columns
// and for one with none, so each word is checked. Only the second has options of the retry
// back-off: their parameters come last, so without options the others are numbered without gaps.
constexpr Signature signature_of(std::span<const Fragment> fragments, std::string_view text) {
    constexpr TableText full{"t", "i", "u", true, {true, true, true, true, true, true}};
    constexpr TableText bare{"t", "", "", false, {}, true};
    Signature signature;
    Expansion(fragments, full, signature, nullptr).expand(text);
    Expansion(fragments, bare, signature, nullptr).expand(text);
    return signature;
}

} // namespace ecto_job
