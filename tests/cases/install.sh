#!/bin/sh
# What `make install` installs is enough to build a program with pkg-config, against the shared
# libraries and against the static ones; and libholdfast needs nothing but libc.
set -eu
. "$(dirname "$0")/../lib/tap.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS PREFIX # of a make that runs this

installs() {
    if [ "$HF_BUILD_DIR" = "$HF_SOURCE_DIR/build" ]; then
        make -s -C "$HF_SOURCE_DIR" install DESTDIR="$work"
    else
        DESTDIR="$work" meson install -C "$HF_BUILD_DIR" --no-rebuild --quiet
    fi
}

# The one file of this name below DESTDIR.
installed() { find "$work" -name "$1" -not -type d; }

expect 'make install' installs
pkgconfig=$(dirname "$(installed holdfast.pc)")
libraries=$(dirname "$(installed libholdfast.so)")
export PKG_CONFIG_PATH="$pkgconfig" PKG_CONFIG_SYSROOT_DIR="$work"

compiles() { # output, what makes the libraries static or not
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror "$HF_SOURCE_DIR/examples/embed.c" \
        -o "$work/$1" $(pkg-config --cflags holdfast-server holdfast) $2 \
        $(pkg-config --libs holdfast-server holdfast) $3
}
counts() {
    LD_LIBRARY_PATH="$libraries" timeout 30 "$work/$1" | grep -qx 200000
}
says_its_version() {
    "$(installed holdfast)" --version | grep -q '^holdfast [0-9]'
}
needs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
needs_libc_only() {
    ! needs "$libraries/libholdfast.so" | grep -v -e '^libc\.so' -e '^libpthread\.so' -e '^ld-linux'
}
shows_nothing_else() { # library
    ! nm -D --defined-only "$libraries/$1" | grep -v ' hf_'
}

expect 'the command runs' says_its_version
expect 'an example compiles against the shared libraries' compiles shared '' ''
expect 'and runs' counts shared
expect 'it compiles against the static libraries' \
    compiles static -Wl,-Bstatic '-Wl,-Bdynamic -luv -lpthread'
expect_not 'which it does not look for afterwards' sh -c "readelf -d '$work/static' | grep holdfast"
expect 'and runs' counts static
expect 'libholdfast needs libc only' needs_libc_only
expect 'libholdfast shows its public functions only' shows_nothing_else libholdfast.so
expect 'libholdfast-server too' shows_nothing_else libholdfast-server.so
finish
