# shellcheck shell=bash
# What check, quickstart and lint share: packages, a private server tree, the user that runs servers.
# Sourced with the current directory at the top of the checkout.

pg_major=15
pg_home=/usr/lib/postgresql/$pg_major
export PG_CONFIG=$pg_home/bin/pg_config

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'ecto_job: %s\n' "$*" >&2
    exit 1
}

# Installs the packages of the groups named (build, test, lint), if any is missing.
need_packages() {
    local system
    # shellcheck disable=SC1091
    system=$(. /etc/os-release 2>/dev/null && echo "${ID-} ${VERSION_ID-}") || true
    [ "$system" = "debian 12" ] || die "this command installs what it needs on Debian 12 only; this system is '${system:-unknown}'.
Elsewhere: PostgreSQL $pg_major with server headers, g++ 12 or later, CLI11, nlohmann-json, spdlog with fmt, then
    make && make install && make installcheck"
    # shellcheck disable=SC2046
    tools/lib/packages "$@"
}

# Runs make with all processors, or in the jobserver of the make that called us; prints what it makes
# and what goes wrong, without the long command lines.
build() {
    local jobs
    jobs=-j$(nproc)
    [[ ${MAKEFLAGS-} != *-j* ]] || jobs=
    # shellcheck disable=SC2086
    ${MAKE:-make} --no-print-directory $jobs "$@" | sed -n 's/.* -o \([^ ]*\).*/  \1/p'
}

# Sets $work: a temporary directory that goes when the script ends, with every server started in it.
# Its path is short, since a Unix socket's path has at most 107 bytes.
make_workspace() {
    local base=${TMPDIR:-/tmp}
    [ ${#base} -le 30 ] || base=/tmp
    work=$(mktemp -d "$base/ej.XXXXXX")
    child= # a process group that ends with us
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap remove_workspace EXIT
}

remove_workspace() {
    local status=$? file pid
    trap '' HUP INT TERM
    if [ -n "$child" ]; then
        kill -TERM -- "-$child" 2>/dev/null || true
    fi
    while read -r file; do
        pid=$(head -n 1 "$file" 2>/dev/null) || continue
        # Immediate shutdown; the process must be a server of ours, not one that got its number since
        [ "$(readlink "/proc/$pid/cwd")" = "${file%/*}" ] && kill -QUIT "$pid" 2>/dev/null
    done < <(find "$work" -name postmaster.pid 2>/dev/null)
    at_end
    # A server writes until it has left
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        rm -rf "$work" 2>/dev/null && break
        sleep 0.5
    done
    exit "$status"
}
at_end() { :; } # a script's own last wishes

# copy_sources DIRECTORY: what is built, with its times, to be built there with other flags
copy_sources() {
    mkdir -p "$1"
    # What went from here must not be found there
    find "$1" \( -name '*.[ch]pp' -o -name '*.sql' \) -delete
    tar -c --exclude='*.o' --exclude='*.d' src Makefile test/test.mk ecto_job.control | tar -x -C "$1"
}

# PostgreSQL finds its files relative to its program. So a copy of bin beside links to the rest is an
# installation of its own, into which the extension goes without touching the system's.
# make_private_tree ROOT [MAKE_ARGUMENT...]: of the PostgreSQL that PG_CONFIG names; the arguments say what is installed
make_private_tree() {
    local root=$1 programs library share headers
    shift
    programs=$("$PG_CONFIG" --bindir)
    library=$("$PG_CONFIG" --pkglibdir)
    share=$("$PG_CONFIG" --sharedir)
    headers=$("$PG_CONFIG" --includedir-server)
    mkdir -p "$root$(dirname "$programs")" "$root$(dirname "$library")" "$root$(dirname "$share")" "$root$(dirname "$headers")"
    ln -s "$headers" "$root$headers"
    cp -r "$programs" "$root$(dirname "$programs")/"
    cp -rs "$library" "$root$(dirname "$library")/"
    cp -rs "$share" "$root$(dirname "$share")/"
    find "$root" ! -type d -name 'ecto_job*' -delete
    build "$@" install DESTDIR="$root"
}

# preload_sanitizer ROOT: the installation's servers have AddressSanitizer loaded before anything else, as a
# library that was built with it asks. A stock server with that hangs when it starts: the constructor of
# another library allocates memory, which sets the sanitizer up, which asks for a translation, whose lock is
# held. So a library whose constructor runs first allocates before that.
preload_sanitizer() {
    local bin=$1$pg_home/bin
    echo '#include <stdlib.h>
        __attribute__((constructor)) static void first(void) { void *volatile memory = malloc(1); free(memory); }' |
        gcc -x c -O1 -fPIC -shared -Wl,-z,initfirst -o "$1/first.so" -
    mv "$bin/postgres" "$bin/postgres.plain"
    # What a backend leaves to the kernel at its end is no leak, and the server handles SIGSEGV by itself
    cat >"$bin/postgres" <<EOF
#!/bin/sh
LD_PRELOAD=$(gcc -print-file-name=libasan.so):$1/first.so:$(gcc -print-file-name=libstdc++.so.6) \\
ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0:handle_segv=0:quarantine_size_mb=16 \\
exec "\$0.plain" "\$@"
EOF
    chmod +x "$bin/postgres"
}

# A server refuses to run as root: there it belongs to the package's user, else to whoever runs us.
# Nobody else can enter the directory, so its servers may trust whoever connects.
# Sets as_user: what stands before a command that shall run as that user, with the private installation,
# in a directory that it can enter (the checkout may lie in root's home).
own_workspace() {
    # From within: a program that starts where its user may not be complains
    as_user=(env -C "$work" -i HOME="$work" TMPDIR="$work/tmp" LC_ALL=C.UTF-8 TERM="${TERM:-dumb}"
        PATH="$work$pg_home/bin:/usr/bin:/bin")
    mkdir "$work/tmp"
    if [ "$(id -u)" = 0 ]; then
        chown -R postgres: "$work"
        as_user=(setpriv --reuid postgres --regid postgres --init-groups "${as_user[@]}")
    fi
}
