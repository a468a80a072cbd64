#!/bin/sh
# The three demos, small: each checks its own result and exits 1 on a lost, torn or
# doubled line. `make demo` runs them on a large file.
set -eu
. "$(dirname "$0")/../lib/tap.sh"

expect 'demo simple' "$HOLDFAST" demo simple
expect 'demo append' "$HOLDFAST" demo append --clients 4 --lines 2000
expect 'demo shared-handle' "$HOLDFAST" demo shared-handle --clients 4 --lines 2000
expect 'demo shared-handle with clients killed' \
    "$HOLDFAST" demo shared-handle --clients 4 --lines 2000 --kill
finish
