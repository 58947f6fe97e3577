# shellcheck shell=bash
# Functions that collect failures in a file and print them at the end of a log, where people read first.

failures= # the name of that file, which the script that sources this one sets; the file does not exist yet

# note_failure NAME: adds a failure; its context, the lines that say why, is read from standard input
note_failure() {
    {
        printf '%s\n' "$1"
        sed 's/[[:space:]]*$//; /^$/d; s/^/    /'
    } >>"$failures"
}

# Prints "== Failed" and the name of each failure with its share of 40 lines of context, if there is one, and then an
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

# failures_of LOG: prints the first section "== Failed" of a log, without its title
failures_of() { sed -n '/^== Failed$/,/^$/{/^== Failed$/d; /^$/q; p}' "$1"; }
