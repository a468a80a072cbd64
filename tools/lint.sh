#!/bin/sh
# Everything behind `make lint`: tools/lint.py (layers, file lengths, white space), the
# tables of docs/protocol.md, and the formatting. Banned functions need no lint, they do
# not compile (src/base/banned.h).
#
#   tools/lint.sh         check
#   tools/lint.sh --fix   lay out all C files instead
set -eu
cd "$(dirname "$0")/.."

# Other versions lay out some lines differently, and would argue with this one.
clang_format() {
    if command -v clang-format-14 >/dev/null; then
        clang-format-14 "$@"
    else
        clang-format "$@"
    fi
}

files=$(python3 tools/lint.py --files)
if [ "${1:-}" = --fix ]; then
    [ -z "$files" ] || clang_format -i $files
    exit 0
fi

status=0
python3 tools/lint.py || status=1
python3 tools/protocol_doc.py || status=1
# One process for all; one for each only to name those that are wrong.
if [ -n "$files" ] && ! clang_format --dry-run -Werror $files 2>/dev/null; then
    status=1
    for file in $files; do
        clang_format --dry-run -Werror "$file" 2>/dev/null ||
            echo "$file: the formatting; 'make format' sets it right"
    done
fi
exit $status
