#!/bin/sh
# make lint finds what it is there to find, in a small tree with one thing wrong at a time.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/lib/tap.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

lint() { python3 "$root/tools/lint.py" "$tree"; }

# The file with this text is right, or wrong with this complaint.
put() {
    rm -rf "$tree"/*
    mkdir -p "$tree/$(dirname "$1")"
    printf "$2" >"$tree/$1"
}
right() {
    put "$1" "$2"
    lint
}
wrong() {
    put "$1" "$2"
    complaint=$(lint) && return 1
    echo "$complaint"
    case $complaint in
    "$1:"*"$3"*) return 0 ;;
    esac
    return 1
}

expect 'a lower layer may be included' right src/client/a.c '#include "sync/b.h"\n'
expect 'a higher layer may not' \
    wrong src/sync/a.c '#include "client/b.h"\n' 'it may use: base, wire'
expect 'the client does not see the server' \
    wrong src/client/a.c '#include "server/b.h"\n' 'it may use'
expect 'a folder that the table does not know is refused' \
    wrong src/other/a.c '#include "base/b.h"\n' 'table of layers'
expect 'an include names its folder' \
    wrong src/sync/a.c '#include "b.h"\n' 'does not begin with a folder'
expect 'a public header includes no internal one' \
    wrong include/holdfast/a.h '#include "base/b.h"\n' 'public header'
expect 'a unit test may include everything' \
    right src/sync/a_test.c '#include "client/b.h"\n#include <pthread.h>\n'
expect 'the core has no sockets' \
    wrong src/sync/a.c '#include <sys/socket.h>\n' 'does no I/O'
expect 'the core has no clock' wrong src/sync/a.c '#include <time.h>\n' 'does no I/O'
expect 'the client has no libuv' wrong src/client/a.c '#include <uv.h>\n' 'may use libuv'
expect 'the server has' right src/server/a.c '#include <uv.h>\n'
expect '700 lines are a file' right src/base/a.c "$(yes 'int x;\n' | head -700 | tr -d '\n')"
expect '701 lines are two' wrong bench/a.c "$(yes 'int x;\n' | head -701 | tr -d '\n')" '701 lines'
expect 'no tabs' wrong tests/a.c '\tint x;\n' 'a tab'
expect 'no white space at the end of a line' wrong src/base/a.c 'int x; \n' 'white space'
expect 'a file ends with a newline' wrong src/base/a.c 'int x;' 'no newline'
finish
