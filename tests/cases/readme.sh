#!/bin/sh
# What the README shows is true: its example is examples/embed.c, which compiles with the
# public headers alone, links with the two libraries and prints what it says.
set -eu
. "$(dirname "$0")/../lib/tap.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
example=$HF_SOURCE_DIR/examples/embed.c

same_example() {
    sed -n '/^```c$/,/^```$/p' "$HF_SOURCE_DIR/README.md" | sed '1d;$d' >"$work/readme.c"
    cmp "$work/readme.c" "$example"
}

builds() {
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -I"$HF_SOURCE_DIR/include" \
        "$example" -o "$work/embed" "$HF_BUILD_DIR/libholdfast-server.a" \
        "$HF_BUILD_DIR/libholdfast.a" -luv -lpthread
}

counts() {
    timeout 30 "$work/embed" | grep -qx 200000
}

expect 'the README shows examples/embed.c' same_example
expect 'the example builds with the public headers and the two libraries' builds
expect 'the example counts to 200000 in two processes' counts
finish
