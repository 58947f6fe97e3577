// The texts of the statements for each layout of tables, and the language of their templates.
#include "queue/statements.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

using namespace ecto_job;

namespace {

constexpr const char *expected_file = "test/unit/statements.expected";
constexpr const char *regenerate =
    "make build/unit/statements_test && REGENERATE=1 build/unit/statements_test";

struct Variant {
    const char *name;
    TableText table;
};

constexpr TableText own_table{
    "app.jobs", "inserted_at", "updated_at", false, {true, true, false, false, true, true}};

TableText changed(void (*change)(TableText &)) {
    TableText table = own_table;
    change(table);
    return table;
}

// Returns the variants of tables, one difference each, and a table of EctoJob's
const std::vector<Variant> &variants() {
    static const std::vector<Variant> all{
        {"without priority", changed([](TableText &t) { t.layout.priority = false; })},
        {"without in_play", changed([](TableText &t) { t.layout.in_play = false; })},
        {"schedule and expires in UTC",
         changed([](TableText &t) { t.layout.utc_schedule = t.layout.utc_expires = true; })},
        {"inserted_at and updated_at with time zone",
         changed([](TableText &t) { t.layout.utc_inserted_at = t.layout.utc_updated_at = false; })},
        {"without inserted_at and updated_at",
         changed([](TableText &t) { t.inserted_at = t.updated_at = ""; })},
        {"binary params", changed([](TableText &t) { t.binary = true; })},
        {"options of the retry back-off", changed([](TableText &t) { t.retry_delay = true; })},
        {"EctoJob's, of version 2",
         changed([](TableText &t) { t.layout = {false, false, true, true, true, true}; })},
    };
    return all;
}

std::string text_for(Statement statement, const TableText &table) {
    std::string text(write_text(statement, table, nullptr), '\0');
    EXPECT_EQ(write_text(statement, table, text.data()), text.size());
    return text;
}

// Returns whether a line of the output begins at this word; a long line also ends at a comma
bool begins_line(const std::string &word) {
    for (const char *first : {"SELECT", "FROM", "WHERE", "AND", "OR", "ORDER", "LIMIT", "FOR",
                              "RETURNING", "VALUES", "SET", "CASE", "WHEN", "ELSE", "OFFSET"})
        if (word == first)
            return true;
    return word.starts_with("(SELECT") || word.starts_with("(ARRAY(SELECT");
}

std::vector<std::string> lines_of(const std::string &text) {
    constexpr std::size_t long_line = 80;
    std::vector<std::string> lines(1);
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        std::string &line = lines.back();
        if (!line.empty() && (begins_line(word) || (line.size() > long_line && line.back() == ',')))
            lines.push_back(word);
        else
            line += (line.empty() ? "" : " ") + word;
    }
    return lines;
}

// Appends the lines that `others` lacks
void append_missing(std::string &out, const char *sign, const std::vector<std::string> &lines,
                    const std::vector<std::string> &others) {
    for (const std::string &line : lines)
        if (std::find(others.begin(), others.end(), line) == others.end())
            out += "    " + std::string(sign) + line + "\n";
}

std::string parameters_text(Statement statement) {
    constexpr const char *types[] = {"int4", "int8",    "int8[]", "bool",        "float8",
                                     "text", "varchar", "jsonb",  "timestamptz", "params"};
    std::string text;
    int number = 1;
    for (const std::uint8_t at : parameters_of(statement)) {
        const Parameter &parameter = parameters[at];
        text += " $" + std::to_string(number) + " " + std::string(parameter.name) + " " +
                types[static_cast<std::size_t>(parameter.type)];
        number++;
    }
    return text;
}

template <Statement statement> std::string name_of() {
    const std::string signature = __PRETTY_FUNCTION__;
    const std::size_t begin = signature.rfind("Statement::") + 11;
    return signature.substr(begin, signature.find_first_of(";]", begin) - begin);
}

template <std::size_t... at> std::vector<std::string> names(std::index_sequence<at...>) {
    return {name_of<static_cast<Statement>(at)>()...};
}

std::string all_texts() {
    const std::vector<std::string> all_names = names(std::make_index_sequence<statement_count>());
    std::string out =
        std::string("-- The statements for a table of create_queue(), and what differs "
                    "for others: - gone, + new.\n-- Made by: ") +
        regenerate + "\n";
    for (std::size_t at = 0; at < statement_count; at++) {
        const auto statement = static_cast<Statement>(at);
        out += "\n-- " + all_names[at] + parameters_text(statement) + "\n";
        const std::vector<std::string> lines = lines_of(text_for(statement, own_table));
        for (const std::string &line : lines)
            out += line + "\n";
        for (const Variant &variant : variants()) {
            const std::vector<std::string> other = lines_of(text_for(statement, variant.table));
            if (other == lines)
                continue;
            out += std::string("  ") + variant.name + "\n";
            append_missing(out, "- ", lines, other);
            append_missing(out, "+ ", other, lines);
        }
    }
    return out;
}

std::string expand(std::string_view text, const TableText &table = own_table) {
    constexpr Fragment fragments[] = {{"held", "@.state == ANY ('{A,B}')"},
                                      {"both", "{held @} AND ({if_priority @} < {held j})"}};
    Signature signature;
    std::string out(Expansion(fragments, table, signature, nullptr).expand(text), '\0');
    Expansion(fragments, table, signature, out.data()).expand(text);
    return out;
}

} // namespace

TEST(statements, texts_are_those_of_the_expected_file) {
    const std::string texts = all_texts();
    if (std::getenv("REGENERATE") != nullptr) {
        std::ofstream(expected_file) << texts;
        return;
    }
    std::ifstream file(expected_file);
    ASSERT_TRUE(file) << expected_file << " is not below the working directory";
    std::stringstream expected;
    expected << file.rdbuf();
    EXPECT_EQ(expected.str(), texts) << "If the change is meant, run\n  " << regenerate;
}

TEST(statement_language, an_operator_stands_between_blanks) {
    EXPECT_EQ(expand("a == 1"), "a OPERATOR(pg_catalog.=) 1");
    EXPECT_EQ(expand("a = 1"), "a = 1");
    EXPECT_EQ(expand("j.* || x"), "j.* OPERATOR(pg_catalog.||) x");
    EXPECT_STREQ(qualified<"a\n  >= b - %s">,
                 "a OPERATOR(pg_catalog.>=) b OPERATOR(pg_catalog.-) %s");
}

TEST(statement_language, quoted_text_stays_as_it_is) {
    EXPECT_EQ(expand("'a == {b}  :c' \"D  < @\""), "'a == {b}  :c' \"D  < @\"");
    EXPECT_STREQ(qualified<"'it''s  <' == x">, "'it''s  <' OPERATOR(pg_catalog.=) x");
}

TEST(statement_language, parameters_are_numbered_in_their_order) {
    EXPECT_EQ(expand(":limit, :now, :limit::pg_catalog.int8"), "$1, $2, $1::pg_catalog.int8");
    EXPECT_EQ(expand(":id :to_id :now :id"), "$1 $2 $3 $1");
}

TEST(statement_language, a_key_is_a_row_as_the_table_compares_it) {
    TableText table = own_table;
    const auto has = [&table](const char *key) {
        return text_for(Statement::first_available, table).find(key) != std::string::npos;
    };
    EXPECT_TRUE(has(">=) ($1, $2, $3) "));
    table.layout = {};
    EXPECT_TRUE(has(">=) ($2, $3) "));
    table.layout.utc_schedule = true;
    EXPECT_TRUE(has(">=) (pg_catalog.timezone('UTC', $2), $3) "));
}

TEST(statement_language, the_argument_of_a_fragment_reaches_the_words_in_it) {
    EXPECT_EQ(expand("{both w}"), "w.state OPERATOR(pg_catalog.=) ANY ('{A,B}') AND (w "
                                  "OPERATOR(pg_catalog.<) j.state OPERATOR(pg_catalog.=) ANY "
                                  "('{A,B}'))");
}

TEST(statement_language, blanks_are_folded) {
    EXPECT_EQ(expand("f(\n    a\n  , b )  {unless_priority x}  {column updated_at}"),
              "f(a, b) updated_at");
}
