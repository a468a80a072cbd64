#!/bin/sh
# The examples compile with the public headers alone, link with the two libraries and do what
# they say. (examples/embed.c is in the README: readme.sh.)
set -eu
. "$(dirname "$0")/../lib/tap.sh"

work=$(mktemp -d)
server=
keeper=
end() {
    exec 9>&-
    for pid in $keeper $server; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end EXIT

builds() { # name
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -I"$HF_SOURCE_DIR/include" \
        "$HF_SOURCE_DIR/examples/$1.c" -o "$work/$1" "$HF_BUILD_DIR/libholdfast-server.a" \
        "$HF_BUILD_DIR/libholdfast.a" -luv -lpthread
}

# ---- a pre-fork server ----

handles_requests() {
    mkdir "$work/logs"
    [ "$(timeout 30 "$work/prefork" "$work/logs")" = '400 requests, 400 in the log' ]
}

log_is_whole() {
    grep -c '^request [0-9]*, worker [0-9]*$' "$work/logs/log" >"$work/lines"
    cut -d, -f1 "$work/logs/log" | sort -u | wc -l >>"$work/lines"
    [ "$(tr '\n' ' ' <"$work/lines")" = '400 400 ' ]
}

expect 'the pre-fork server compiles' builds prefork
expect 'its workers handle 400 requests' handles_requests
expect 'their log has each of them once, none torn' log_is_whole

# ---- a pool of workers ----

pool_is_right() { # mount
    [ "$(timeout 30 "$work/pool" "$1")" = '60 tasks, 3245 primes' ]
}

mkdir "$work/pooled" "$work/served"
expect 'the pool compiles' builds pool
expect "its workers do each task once, in the server's memory" pool_is_right ram:/
expect 'and where that is not all there is' pool_is_right ram:/a/b,size=1M
expect 'and in a directory that the server has' pool_is_right "dir:$work/served:/"
expect 'and in a directory that they open' \
    pool_is_right "direct:$work/pooled:/"
expect_not 'what is no mount is refused' pool_is_right "ram:tmp"

# ---- SQLite ----

builds_sqlite() {
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror \
        -I"$HF_SOURCE_DIR/include" "$HF_SOURCE_DIR/examples/sqlite/bank.c" \
        "$HF_SOURCE_DIR/examples/sqlite/vfs.c" -o "$work/bank" \
        "$HF_BUILD_DIR/libholdfast-server.a" "$HF_BUILD_DIR/libholdfast.a" -luv -lsqlite3 -lpthread
}

bank_is_sound() { # mount, option...
    mount=$1
    shift
    timeout 100 "$work/bank" --transfers 100 "$@" "$mount" >"$work/said" &&
        grep -q '^WAL: journal_mode=WAL needs shared memory' "$work/said" &&
        grep -q '^400 transfers, integrity check: ok, 0 wrong$' "$work/said"
}

tellers_are_killed() {
    bank_is_sound "$@" --kill && ! grep -q '^0 tellers killed$' "$work/said"
}

mkdir "$work/bank_host"
expect 'SQLite on Holdfast compiles' builds_sqlite
expect "four processes share a database in the server's memory" bank_is_sound ram:/
expect 'and lose nothing when some are killed' tellers_are_killed ram:/
expect 'and in a directory that they open' tellers_are_killed "direct:$work/bank_host:/"

# ---- a counter ----

address=unix:$work/socket

serve() {
    mkfifo "$work/serving"
    "$HOLDFAST" serve --listen "$address" >"$work/serving" 2>&1 &
    server=$!
    read -r serving <"$work/serving"
}

# Has the counter open from before the first count until after the last.
keep() {
    mkfifo "$work/stay" "$work/kept"
    "$work/counter" "$address" 0 <"$work/stay" >"$work/kept" &
    keeper=$!
    exec 9>"$work/stay"
    read -r kept <"$work/kept"
}

counts_to() { # total, count...
    total=$1
    shift
    counters=
    for count in "$@"; do
        timeout 30 "$work/counter" "$address" "$count" </dev/null >/dev/null &
        counters="$counters $!"
    done
    for pid in $counters; do
        wait "$pid"
    done
    [ "$(timeout 30 "$work/counter" "$address" 0 </dev/null)" = "$total" ]
}

goes_on_alone() {
    timeout 30 "$work/counter" "$address" 1 </dev/null
}

expect 'the counter compiles' builds counter
serve
expect 'a server serves' test "$serving" = "holdfast: serving $address"
keep
expect 'the counter begins at 0' test "$kept" = 0
expect 'three processes count in it at a time' counts_to 30000 10000 10000 10000
expect 'others go on where they ended' counts_to 30007 3 4

# ---- open files that go to another program ----

migrates() {
    mkdir "$work/migrated"
    timeout 30 "$work/migrate" "$address" "$work/migrated" >"$work/size"
}

# Three times 500 lines, each whole and each writer's in order; the offset is where they end.
all_lines_are_there() {
    for who in first other again; do
        sed -n "s/^$who //p" "$work/migrated/log" | cmp - "$work/numbers" || return 1
    done
    [ "$(wc -l <"$work/migrated/log")" = 1500 ] &&
        [ "$(cat "$work/size")" = "$(wc -c <"$work/migrated/log") bytes" ]
}

seq 0 499 >"$work/numbers"
expect 'the migrating program compiles' builds migrate
expect 'another program goes on with its open file' migrates
expect 'both wrote all their lines at one offset' all_lines_are_there

# ---- without the server ----

kill "$server"
wait "$server"
server=
expect_not 'without the server there is no counting' goes_on_alone
finish
