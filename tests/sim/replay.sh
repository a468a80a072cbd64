#!/bin/sh
# A seed that fails is printed, and --seed plays the same schedule again, step by step.
# The first argument is a simulator with a mistake in it.
set -eu
. "$(dirname "$0")/../lib/tap.sh"

simulator=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fails() { # output, argument...
    output=$work/$1
    shift
    ! "$simulator" "$@" >"$output" 2>/dev/null
}

expect 'a mistake makes it fail' fails run --schedules 1000
seed=$(sed -n 's/.*--seed \([0-9]*\).*/\1/p' "$work/run" | head -n 1)
expect 'the seed is printed' test -n "$seed"
expect 'the seed alone fails' fails once --seed "$seed" -v
expect 'and again' fails twice --seed "$seed" -v
expect 'in the same steps' cmp "$work/once" "$work/twice"
expect 'of which there are many' test "$(wc -l <"$work/once")" -gt 20
finish
