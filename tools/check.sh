#!/bin/bash
# make check: build, lint, every suite, and unit + sim again under the sanitizers.
#
#   tools/check.sh                  all of it
#   tools/check.sh --only STEP ...  some of it: lint unit sim process demo asan tsan
#
# Suites joined by a plus run at the same time: the simulator is one long process, and the
# unit tests find a core free beside it.
#
# One line a step; a failing test's output is shown. The last line is the sum of it all:
# N passed, M failed, K skipped. Every TAP line of a test counts, and lint counts as one.
set -eu
cd "$(dirname "$0")/.."

steps="lint unit+sim process demo asan tsan"
if [ "${1:-}" = --only ]; then
    shift
    steps="$*"
fi
passed=0 failed=0 skipped=0 tests=0
started=$SECONDS

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

report() { # label, seconds, text
    printf '%-16s %4s s   %s\n' "$1" "$2" "$3"
}

finish() {
    if [ $tests = 0 ] && [[ $steps != lint ]]; then
        echo "check: no test ran"
        failed=$((failed + 1))
    fi
    echo "check: $((SECONDS - started)) s in all"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed = 0 ]
    exit
}

# Something without TAP that is either right or wrong.
step() { # label, command...
    local label=$1 begin=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1; then
        report "$label" $((SECONDS - begin)) ok
        return 0
    fi
    failed=$((failed + 1))
    report "$label" $((SECONDS - begin)) FAILED
    cat "$work/log"
    return 1
}

# TSan cannot place its shadow memory where the kernel randomises addresses widely (vm.
# mmap_rnd_bits above 28, and gcc 12's runtime does not retry), so it goes without that.
no_randomisation=""
if setarch -R true 2>/dev/null; then
    no_randomisation="setarch -R"
fi

suite() { # suite or suite+suite, variant
    local name=$1 variant=$2 label=$1 begin=$SECONDS dir=build status=0
    local options=() one
    for one in ${name//+/ }; do
        options+=(--suite "$one")
    done
    if [ "$variant" != plain ]; then
        dir=build-$variant
        label="$name, $variant"
        options+=(-t 4)
    fi
    if [ "$variant" = tsan ] && [ -n "$no_randomisation" ]; then
        options+=(--wrapper "$no_randomisation")
    fi
    # meson adds the wrapper's name to the log's.
    rm -f "$dir/meson-logs/check-$name"*
    meson test -C "$dir" --logbase "check-$name" "${options[@]}" \
        >"$work/log" 2>&1 </dev/null || status=$?

    local logs=("$dir/meson-logs/check-$name"*.json) p f s text
    if [ ! -f "${logs[0]}" ]; then
        if grep -q 'No suitable tests' "$work/log"; then
            report "$label" $((SECONDS - begin)) 'no tests'
        else
            # The tests did not build.
            failed=$((failed + 1))
            report "$label" $((SECONDS - begin)) "FAILED"
            cat "$work/log"
        fi
        return 0
    fi
    read -r p f s < <(python3 tools/tap_count.py "${logs[0]}" 2>"$work/failures")
    text="$p ok"
    [ "$s" = 0 ] || text="$text, $s skipped"
    [ "$f" = 0 ] || text="$text, $f FAILED"
    report "$label" $((SECONDS - begin)) "$text"
    cat "$work/failures"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    tests=$((tests + p + f + s))
}

case " $steps " in
*' unit'* | *' sim '* | *' process '* | *' demo '*)
    step build tools/build.sh plain || finish
    ;;
esac

for step in $steps; do
    case $step in
    lint)
        if step lint tools/lint.sh; then
            passed=$((passed + 1))
        fi
        ;;
    unit | sim | unit+sim | process | demo)
        suite $step plain
        ;;
    asan | tsan)
        step "configure, $step" tools/build.sh $step --configure || finish
        suite unit+sim $step
        ;;
    *)
        echo "check: no such step: $step" >&2
        exit 2
        ;;
    esac
done
finish
