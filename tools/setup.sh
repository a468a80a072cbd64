#!/bin/sh
# Install what is missing to build (and lint) Holdfast, and nothing else.
#
#   tools/setup.sh build        compiler, meson, libraries
#   tools/setup.sh build lint   the same and what `make lint` needs
#
# Silent when nothing is missing. Debian's git and make are all it relies on.
set -eu

# What counts is that the thing works, not which package it came from: each line is
# a Debian package and the test that shows that it is needed.
missing=""
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_c_headers() { [ -e /usr/include/stdio.h ]; }

# The layout of .clang-format is version 14's; see clang_format() in tools/lint.sh.
has_clang_format() {
    command -v clang-format-14 || clang-format --version | grep -q 'version 14\.'
}

[ $# -gt 0 ] || set -- build
for what in "$@"; do
    case $what in
    build)
        need gcc command -v gcc
        # gcc only recommends it, and recommended packages are left out here.
        need libc6-dev has_c_headers
        need meson command -v meson
        need ninja-build command -v ninja
        need pkg-config command -v pkg-config
        need libuv1-dev pkg-config --exists libuv
        need libcmocka-dev pkg-config --exists cmocka
        need libsqlite3-dev pkg-config --exists sqlite3
        need python3 command -v python3
        ;;
    lint)
        need python3 command -v python3
        need clang-format-14 has_clang_format
        ;;
    *)
        echo "usage: tools/setup.sh [build] [lint]" >&2
        exit 2
        ;;
    esac
done
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ' | sed 's/ *$//')
[ -n "$missing" ] || exit 0

command="apt-get install -y --no-install-recommends $missing"
if ! command -v apt-get >/dev/null; then
    echo "setup: these are missing, under their names in Debian 12: $missing" >&2
    echo "setup: no apt-get here; install them, then run make again" >&2
    exit 1
fi

# Without a terminal sudo cannot ask for a password, so then it must not need one.
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root="sudo"
else
    echo "setup: these packages are missing: $missing" >&2
    echo "setup: as root, run:" >&2
    echo "    apt-get update && $command" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null
}
update() {
    echo "setup: apt-get update"
    apt update || { cat "$log" >&2; exit 1; }
}
install() { apt install -y --no-install-recommends $missing; }

echo "setup: installing $missing"
updated=no
if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    update
    updated=yes
fi
# Old lists name files that the mirror has replaced since: try once more with new ones.
if ! install; then
    [ $updated = yes ] || { update; updated=retry; }
    if [ $updated != retry ] || ! install; then
        cat "$log" >&2
        echo "setup: failed: $command" >&2
        exit 1
    fi
fi
