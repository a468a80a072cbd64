# TAP for test scripts; source it:  . "$(dirname "$0")/../lib/tap.sh"
#
#   expect 'an unknown option is refused' test "$status" = 2
#   skip   'needs a terminal' 'none here'
#   finish

tap_count=0

# Passes when the command does; what the command printed is shown when it fails.
expect() {
    tap_name=$1
    shift
    tap_count=$((tap_count + 1))
    if tap_output=$("$@" 2>&1); then
        echo "ok $tap_count - $tap_name"
    else
        echo "not ok $tap_count - $tap_name"
        printf '%s\n' "failed: $*" "$tap_output" | sed 's/^/# /'
    fi
}

# Passes when the command fails.
expect_not() {
    tap_name=$1
    shift
    expect "$tap_name" tap_fails "$@"
}
tap_fails() { ! "$@"; }

skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

# Without the plan at the end a script that died half-way would pass.
finish() { echo "1..$tap_count"; }
