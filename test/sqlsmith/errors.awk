# Reads psql's errors (VERBOSITY verbose, ECHO errors). Prints each internal error (SQLSTATE XX...) with its statement,
# unless a line of the file `known` matches its first line, each error of a refill, and each loss of the connection.
# Writes the number of errors of each SQLSTATE into the file `codes`.
BEGIN {
    while ((getline line <known) > 0)
        if (line !~ /^(#|$)/)
            regexes[++regex_count] = line
}
function end_of_error(    i) {
    if (is_internal)
        for (i = 1; i <= regex_count; i++)
            if (first ~ regexes[i])
                is_internal = 0
    if (is_internal || is_lost || is_refill)
        printf "%s", text
    text = ""
    is_internal = is_lost = is_refill = 0
}
/^(ERROR|FATAL|PANIC):  [0-9A-Z]+: / {
    end_of_error()
    code = substr($2, 1, 5)
    codes_seen[code]++
    first = $0
    is_internal = code ~ /^XX/
    is_lost = /^(FATAL|PANIC)/
}
/^(psql: error|server closed the connection)/ {
    end_of_error()
    is_lost = 1
}
/^STATEMENT:  SELECT smith_hidden\.refill/ { is_refill = 1 }
{ if (length(text) < 5000) text = text $0 "\n" }
END {
    end_of_error()
    for (code in codes_seen)
        printf "%s %d, ", code, codes_seen[code] >codes
    print "" >codes
}
