#!/bin/sh
# make demo: the three demos, on a real file of at least 100,000 lines.
#
# Which file: HF_DEMO_INPUT, or else the C headers of this machine one after another;
# they are there wherever Holdfast was built. HF_DEMO_ARGS adds options.
set -eu
cd "$(dirname "$0")/.."

input=${HF_DEMO_INPUT:-build/demo-input.txt}
if [ -z "${HF_DEMO_INPUT:-}" ] && [ ! -f "$input" ]; then
    # The kernel headers and libc alone are more than 200,000 lines. The
    # temporary name: an interrupted run must not leave half a file for the next one.
    find /usr/include -name '*.h' -type f | LC_ALL=C sort | xargs cat 2>/dev/null |
        head -n 200000 >"$input.new"
    mv "$input.new" "$input"
fi
lines=$(wc -l <"$input")
echo "demo: $input, $lines lines, 4 clients"
exec build/holdfast demo all --input "$input" --clients 4 ${HF_DEMO_ARGS:-}
