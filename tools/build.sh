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

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ ! -f $dir/build.ninja ]; then
    # An interrupted setup leaves a directory that meson would only half believe in.
    rm -rf $dir
    meson setup $options $dir >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
[ "${2:-}" = --configure ] && exit 0

# Until the first source exists there is no such target. Without it ninja would build all
# tests too, and `make demo` should not wait for them.
target=""
if grep -q '^build products:' $dir/build.ninja; then
    target=products
fi

# Silent when all is well, and only the compiler's words when not.
if ! ninja -C $dir $target >"$log" 2>&1; then
    if grep -q '^FAILED:' "$log"; then
        sed -n '/^FAILED:/,$p' "$log" >&2
    else
        cat "$log" >&2
    fi
    exit 1
fi
