// --sql statements are refused without a server by their first word, which comments may precede.
#include "consumer/sql_text.hpp"

#include <gtest/gtest.h>

using namespace ecto_job::consumer;

namespace {

TEST(sql_text, what_ends_the_transaction_is_refused) {
    for (const char *sql :
         {"COMMIT", "commit;", " \t\n\v\fEnd", "ROLLBACK AND CHAIN", "abort",
          "PREPARE TRANSACTION 'x'", "BEGIN", "start transaction", "SAVEPOINT s", "release s",
          ";;COMMIT", "-- a\nCOMMIT", "-- a\rCOMMIT", "/* a */COMMIT", "/* a /* b */ c */ COMMIT",
          "/**/--\n/*/**/*/commit/* d */"})
        EXPECT_NE(why_not_in_transaction(sql).find("is not possible"), std::string::npos) << sql;
}

TEST(sql_text, what_does_nothing_is_refused) {
    for (const char *sql :
         {"", "  ", ";", "--", "-- COMMIT", "/* SELECT 1 */", "/* not closed", "/*/"})
        EXPECT_EQ(why_not_in_transaction(sql), "must not be empty") << sql;
}

TEST(sql_text, copy_with_the_client_is_refused) {
    for (const char *sql :
         {"COPY t TO STDOUT", "copy t from stdin", "COPY (SELECT 1) TO stdout (FORMAT csv)"})
        EXPECT_NE(why_not_in_transaction(sql), "") << sql;
    EXPECT_EQ(why_not_in_transaction("COPY t TO '/tmp/t'"), "");
}

TEST(sql_text, anything_else_is_the_server_s_to_judge) {
    for (const char *sql : {"SELECT app.perform($1)", "WITH a AS (SELECT 1) SELECT", "commits",
                            "end_it($1)", "COMMIT_all", "(SELECT 1)", "CALL ends()", "'COMMIT'",
                            "\"COMMIT\"", "/ COMMIT", "SELECT 1; COMMIT", "SELECT 'stdin'"})
        EXPECT_EQ(why_not_in_transaction(sql), "") << sql;
}

} // namespace
