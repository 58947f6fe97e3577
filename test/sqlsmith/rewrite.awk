# Makes SQLsmith's statements better tests of ecto_job. Drops nine of ten that call no function of it with an argument.
# Gives them values for most of the NULLs, since SQLsmith makes no other constants, and all rows of tables, which have a few
# only. Has conditions let rows through in three of four statements, for random conditions seldom do, and others end after a
# row. Has the queues filled anew before each twentieth. Writes the number of statements into the file `count`.
BEGIN {
    RS = ";\n"
    split("int4 int8 text jsonb bytea interval timestamptz float8 regclass _int8", types, " ")
}
/smith_hidden\./ { next }
!/ecto_job\.[a-z_]+\(\n/ && !/^(insert|update|delete|MERGE)/ && NR % 10 > 0 { next }
{
    if (statements % 20 == 0)
        print "SET statement_timeout = 0; SELECT smith_hidden.refill(); RESET statement_timeout;"
    statements++
    gsub(/tablesample (system|bernoulli) \([0-9.]+\)/, "")
    gsub(/"interval"/, "interval")
    for (i in types)
        gsub("cast\\(null as " types[i] "\\)", "smith.some_" types[i] "()")
    # Polymorphic types have no values
    gsub(/as anyrange\)/, "as int4range)")
    gsub(/as anymultirange\)/, "as int4multirange)")
    gsub(/as any(enum|element|array)\)/, "as text)")
    if (statements % 4) {
        gsub(/where /, "where true or ")
        gsub(/on \(/, "on (true or ")
    }
    # The first error ends a statement, and only the first completion of a job is none
    if (statements % 4 < 2)
        sub(/limit [0-9]+[ \n]*$/, "limit 1")
    print $0 ";"
}
END { print statements + 0 >count }
