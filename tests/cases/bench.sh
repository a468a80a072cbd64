#!/bin/sh
# hf-bench runs, writes JSON that others can read, and counts the messages that the protocol
# promises. No time decides anything here.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/lib/tap.sh"
bench=${HF_BUILD_DIR:-$root/build}/hf-bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ends_with() { # status, argument...
    wanted=$1
    shift
    status=0
    "$bench" "$@" >"$work/out" 2>"$work/err" || status=$?
    cat "$work/out" "$work/err"
    test "$status" = "$wanted"
}

# Says whether a Python expression is true of `row`, the row with this name, and of `rows`.
row_is() { # name, expression
    python3 - "$work/rows.json" "$1" "$2" <<'PYTHON'
import json
import sys

rows = json.load(open(sys.argv[1], encoding="utf-8"))
row = next(row for row in rows if row["name"] == sys.argv[2])
print(row)
sys.exit(0 if eval(sys.argv[3]) else 1)
PYTHON
}

expect 'a short look at everything ends well' ends_with 0 --quick --json "$work/rows.json"
expect 'the rows are JSON' python3 -m json.tool "$work/rows.json"

turns='hand-off, taking turns, batching off'
expect 'every row has the six members' row_is "$turns" 'all(list(row) == ["name", "value",
    "unit", "yardstick", "ratio", "messages_per_op"] for row in rows)'
expect 'no two rows have one name' row_is "$turns" 'len({row["name"] for row in rows}) == len(rows)'
# What times are is not for a test to judge, not even that a clock moved.
expect 'every value is a number' row_is "$turns" 'all(type(row["value"]) in (int, float)
    for row in rows)'

expect 'a hand-off takes exactly 4 messages' row_is "$turns" 'row["messages_per_op"] == 4'
expect 'with batching an operation takes less than 0.1' \
    row_is 'both in a loop, batching on' 'row["messages_per_op"] < 0.1'
for mode in EXCLUSIVE SHARED; do
    expect "a handle held $mode is used without messages" \
        row_is "held $mode, acquire+release" 'row["messages_per_op"] == 0'
done
expect 'two reader threads send none either' \
    row_is 'held SHARED, 2 reader threads, per thread' 'row["messages_per_op"] == 0'
expect 'a grant and its release take 3 messages' \
    row_is '64 connections, own handles, 1 under way' 'row["messages_per_op"] == 3'

for row in 'stat, cached, three deep' 'stat of a missing name, three deep' 'fstat' \
    'open+close, three deep' 'write of 64 bytes at a place' 'write of 64 bytes at the offset' \
    'append of 64 bytes' 'read of 4 KiB at a place' \
    'readdir of 10,000 entries, cached, per entry' 'served: stat, cached, three deep' \
    'served: fstat' 'served: open+close, three deep' 'served: read of 4 KiB, cached' \
    'served: 64 MiB read in 128 KiB, warm'; do
    expect "without messages: $row" row_is "$row" 'row["messages_per_op"] == 0'
done
expect 'a directory is read with a handful of messages, however many entries it has' \
    row_is 'readdir of 10,000 entries, first, per entry' '0 < row["messages_per_op"] < 0.001'
expect 'a file that comes and goes takes at most 3' \
    row_is 'create+unlink' 'row["messages_per_op"] <= 3'
expect 'a file met first on a walk takes at most a pair and its giving back' \
    row_is 'walk of a tree, cold, per file' '0 < row["messages_per_op"] < 4'
expect 'appending processes take turns of many lines' \
    row_is 'two processes append 64 bytes to one file' 'row["messages_per_op"] < 1'
# Besides, space is asked for once in a thousand pages.
for row in 'served: write of 4 KiB at a place' 'served: write of 64 bytes at a place' \
    'served: append of 64 bytes'; do
    expect "one message: $row" row_is "$row" '1 <= row["messages_per_op"] < 1.01'
done
expect 'an append that is sent to the server takes a question and an answer' \
    row_is 'served: 2 append, operations are sent' '2 <= row["messages_per_op"] < 2.1'
expect 'a served file met first on a walk takes a few messages' \
    row_is 'served: walk of a tree, cold, per file' '0 < row["messages_per_op"] < 5'
expect 'and none later' \
    row_is 'served: walk of a tree, warm, per file' 'row["messages_per_op"] < 0.1'

for row in 'lock+unlock of a byte, alone' "the same in an open file's name" 'flock+unlock, alone'; do
    expect "without messages: $row" row_is "$row" 'row["messages_per_op"] == 0'
done
expect 'locks that nobody has to himself take a question and an answer each' \
    row_is 'lock+unlock, taking turns' 'row["messages_per_op"] == 4'
expect 'and taking them from who has them to himself takes one pair more' \
    row_is 'lock what the other has to itself' '3.9 < row["messages_per_op"] < 4.1'

expect 'one part can be run alone' ends_with 0 --quick sync/held
expect 'an unknown group is refused' ends_with 2 --quick no-such-group
expect 'an unknown part is refused' ends_with 2 --quick sync/no-such-part
expect 'an unknown option is refused' ends_with 2 --no-such-option
expect 'a number of rounds that is none is refused' ends_with 2 --rounds 7x
expect 'a file that cannot be written is complained of' \
    ends_with 1 --quick --json "$work/no/such/folder" sync/held
finish
