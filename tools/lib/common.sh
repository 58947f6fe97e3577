# shellcheck shell=bash
# Functions of check, quickstart, lint and others: packages, a private installation, the user that runs servers.
# A script sources this file with the top of the checkout as its current directory.

# The release of Debian that has each major version of PostgreSQL; no release has 16
declare -A debian_of=([15]=bookworm [17]=trixie [18]=forky)
# The version in this machine's release; 15 on any other system
pg_major=15
# shellcheck disable=SC1091
system=$(. /etc/os-release 2>/dev/null && echo "${ID-} ${VERSION_CODENAME-}") || true
codename=${system#* }
for major in "${!debian_of[@]}"; do
    [ "${debian_of[$major]}" != "$codename" ] || pg_major=$major
done
pg_home=/usr/lib/postgresql/$pg_major
export PG_CONFIG=$pg_home/bin/pg_config

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'ecto_job: %s\n' "$*" >&2
    exit 1
}

# need_packages GROUP...: installs the packages of the groups (build, test, lint) that are missing
need_packages() {
    [ "$system" = "debian ${debian_of[$pg_major]}" ] || die "this command installs what it needs on Debian 12 only; this system is '${system:-unknown}'.
Elsewhere: PostgreSQL $pg_major with server headers, g++ 12 or later, CLI11, nlohmann-json, spdlog with fmt, then
    make && make install && make installcheck"
    # shellcheck disable=SC2046
    tools/lib/packages "$@"
}

# Prints the URI of the mirror from which this machine installs Debian's packages.
debian_mirror() {
    local mirror
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' "Codename: $codename" | sed -n 1p)
    echo "${mirror:-http://deb.debian.org/debian}"
}

# build MAKE_ARGUMENT...: runs make on all processors, or in the jobserver of the calling make; prints the files that are
# made, and the errors, in the place of the long command lines
build() {
    local jobs
    jobs=-j$(nproc)
    [[ ${MAKEFLAGS-} != *-j* ]] || jobs=
    # shellcheck disable=SC2086
    ${MAKE:-make} --no-print-directory $jobs "$@" | sed -n 's/.* -o \([^ ]*\).*/  \1/p'
}

# Sets $work to a temporary directory. When the script ends, the servers started in the directory are stopped and the
# directory is removed. Its path is short, since a Unix socket's path has at most 107 bytes.
make_workspace() {
    local base=${TMPDIR:-/tmp}
    [ ${#base} -le 30 ] || base=/tmp
    work=$(mktemp -d "$base/ej.XXXXXX")
    child= # a process group that is terminated when the script ends
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
        # Immediate shutdown. The working directory tells the server from a later process with the same id
        [ "$(readlink "/proc/$pid/cwd")" = "${file%/*}" ] && kill -QUIT "$pid" 2>/dev/null
    done < <(find "$work" -name postmaster.pid 2>/dev/null)
    at_end
    # A server writes files until its last process has ended
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        rm -rf "$work" 2>/dev/null && break
        sleep 0.5
    done
    exit "$status"
}
at_end() { :; } # a script may redefine what is done before $work is removed

# copy_sources DIRECTORY: copies the sources with their modification times, to be built there with other flags
copy_sources() {
    mkdir -p "$1"
    # Removes the copies of sources that no longer exist here
    find "$1" \( -name '*.[ch]pp' -o -name '*.sql' \) -delete
    tar -c --exclude='*.o' --exclude='*.d' src Makefile test/test.mk ecto_job.control | tar -x -C "$1"
}

# make_private_tree ROOT [MAKE_ARGUMENT...]: makes an installation of the PostgreSQL that PG_CONFIG names, with the
# extension, and leaves the system's installation as it is. PostgreSQL finds its files relative to its program, so a
# copy of bin beside links to all other files is enough. The arguments are those of `make install`.
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

# preload_sanitizer ROOT: has the installation's servers load AddressSanitizer before anything else, as a library that
# was built with the sanitizer requires. A stock server would hang at its start: the constructor of another library
# allocates memory with the lock of the translations held, and the sanitizer, which initializes at the first
# allocation, asks for a translation. So a library whose constructor runs first makes the first allocation.
preload_sanitizer() {
    local bin=$1$pg_home/bin
    echo '#include <stdlib.h>
        __attribute__((constructor)) static void first(void) { void *volatile memory = malloc(1); free(memory); }' |
        gcc -x c -O1 -fPIC -shared -Wl,-z,initfirst -o "$1/first.so" -
    mv "$bin/postgres" "$bin/postgres.plain"
    # detect_leaks=0: a backend leaves its memory to the kernel when it exits. handle_segv=0: the server handles SIGSEGV
    cat >"$bin/postgres" <<EOF
#!/bin/sh
LD_PRELOAD=$(gcc -print-file-name=libasan.so):$1/first.so:$(gcc -print-file-name=libstdc++.so.6) \\
ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0:handle_segv=0:quarantine_size_mb=16 \\
exec "\$0.plain" "\$@"
EOF
    chmod +x "$bin/postgres"
}

# Gives $work to the user that runs servers, and sets as_user to the prefix of a command that this user runs with the
# private installation. As root the user is the package's (postgres), since a server refuses to run as root, otherwise
# the script's. No other user can enter the directory, so its servers may trust every connection.
own_workspace() {
    # env -C: the checkout may lie in root's home, and a program complains of a working directory that its user cannot enter
    as_user=(env -C "$work" -i HOME="$work" TMPDIR="$work/tmp" LC_ALL=C.UTF-8 TERM="${TERM:-dumb}"
        PATH="$work$pg_home/bin:/usr/bin:/bin")
    mkdir "$work/tmp"
    if [ "$(id -u)" = 0 ]; then
        chown -R postgres: "$work"
        as_user=(setpriv --reuid postgres --regid postgres --init-groups "${as_user[@]}")
    fi
}
