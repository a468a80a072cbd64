#!/bin/sh
# Configure (once) and build one variant: plain in build/, asan in build-asan/, tsan in
# build-tsan/. With --configure it stops after configuring: `meson test` then builds only
# what the chosen tests need.
set -eu
cd "$(dirname "$0")/.."

variant=${1:-plain}
case $variant in
plain) dir=build options="" ;;
asan) dir=build-asan options="-Db_sanitize=address,undefined" ;;
tsan) dir=build-tsan options="-Db_sanitize=thread" ;;
*)
    echo "usage: tools/build.sh [plain|asan|tsan] [--configure]" >&2
    exit 2
    ;;
esac
# The sanitizers need no shared libraries, and half the linking is saved.
[ $variant = plain ] || options="$options -Ddefault_library=static"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ ! -f $dir/build.ninja ]; then
    # An interrupted setup leaves a directory that meson would only half believe in.
    rm -rf $dir
    meson setup $options $dir >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
[ "${2:-}" = --configure ] && exit 0

# One line when all is well, the compiler's words when not.
ninja -C $dir >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
