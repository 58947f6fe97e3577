# shellcheck shell=bash
# Names what failed at the end of a log, whose end is what people read.

failures= # a file that does not exist yet: the script that sources this one sets the name

# note_failure NAME: the context, the lines that say why, comes from standard input
note_failure() {
    {
        printf '%s\n' "$1"
        sed 's/[[:space:]]*$//; /^$/d; s/^/    /'
    } >>"$failures"
}

# Prints "== Failed" and the name of each failure with its share of 40 lines of context, unless all is well; then an
# empty line
print_failures() {
    local names
    if [ -s "$failures" ]; then
        names=$(grep -c '^[^ ]' "$failures")
        printf '\n== Failed\n'
        awk -v share=$((names > 20 ? 1 : 40 / names)) '
            !/^    / { context = 0; if (++names <= 100) print; next }
            ++context <= share && ++shown <= 40 { print substr($0, 1, 300) }
            END { if (names > 100) print "and " names - 100 " more" }' "$failures"
    fi
    printf '\n'
}

# Prints the first such section of a log, without its title
failures_of() { sed -n '/^== Failed$/,/^$/{/^== Failed$/d; /^$/q; p}' "$1"; }
