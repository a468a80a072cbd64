#!/bin/sh
# A call of a banned function does not compile, and says what to use instead.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/lib/tap.sh"
banned=$root/src/base/banned.h

compile() {
    printf '%s\n' "$1" | ${CC:-gcc} -D_GNU_SOURCE -include "$banned" -x c -fsyntax-only - 2>&1
}
refused() {
    message=$(compile "void f(void); void f(void) { $1(0); }") && return 1
    case $message in
    *"$1 is banned here; instead"*) return 0 ;;
    esac
    echo "$message"
    return 1
}

names=$(sed -n 's/^#define \([a-z0-9]*\)(\.\.\.).*/\1/p' "$banned")
expect 'the list has strcpy in it' test "${names#*strcpy}" != "$names"
for name in $names; do
    expect "$name does not compile" refused "$name"
done
expect 'a member may be called like a banned function' \
    compile 'struct s { int sleep; }; int f(struct s *s); int f(struct s *s) { return s->sleep; }'
expect 'system headers compile after it' compile '
#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <uv.h>
int x;'
finish
