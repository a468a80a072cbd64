#!/bin/sh
# The tables of docs/protocol.md are those of the code, and tools/protocol_doc.py sees each way in
# which they could stop being so.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/lib/tap.sh"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

tool() { python3 "$root/tools/protocol_doc.py" "$@" "$tree"; }

fresh() {
    rm -rf "$tree"/*
    mkdir -p "$tree/docs" "$tree/src/wire" "$tree/include/holdfast"
    for file in docs/protocol.md src/wire/messages.def src/wire/operations.def \
        src/wire/records.def src/wire/wire.h src/wire/operations.h include/holdfast/sync.h; do
        cp "$root/$file" "$tree/$file"
    done
}

# The tool complains of this once the file was changed so.
notices() { # complaint, file, sed expression
    fresh
    sed -i "$3" "$tree/$2"
    cmp -s "$tree/$2" "$root/$2" && { echo "nothing was changed"; return 1; }
    complaint=$(tool) && return 1
    echo "$complaint"
    case $complaint in
    *"$1"*) return 0 ;;
    esac
    return 1
}

# Brings back what the code says and what people wrote.
mends() { # sed expression
    fresh
    sed -i "$1" "$tree/docs/protocol.md"
    tool --write && cmp "$tree/docs/protocol.md" "$root/docs/protocol.md"
}

fresh
expect 'the document is that of the code' tool
expect 'a new field is noticed' \
    notices "the table 'fields RECALL' is not" src/wire/messages.def 's/U32(waiting)/U32(waiting) U8(flags)/'
expect 'a field of another size is noticed' \
    notices "the table 'fields CANCEL' is not" src/wire/messages.def '/CANCEL/s/U32(seq)/U64(seq)/'
expect 'a new message is noticed' \
    notices 'nothing is said about PING' src/wire/messages.def '$a MESSAGE(PING, 21, TO_CLIENT, U8(flags))'
expect 'a message that is not understood is noticed' \
    notices 'not understood' src/wire/messages.def '$a MESSAGE(PING, 0x15, TO_CLIENT, U8(flags))'
expect 'a flag with another bit is noticed' \
    notices 'the flags of ACQUIRE' src/wire/wire.h 's/WIRE_REFERENCE 0x02/WIRE_REFERENCE 0x04/'
expect 'another reason is noticed' \
    notices "the table 'reasons' is not" src/wire/wire.h 's/(TOO_SLOW, 23/(TOO_SLOW, 25/'
expect 'another version is noticed' \
    notices "the table 'constants' is not" src/wire/wire.h 's/WIRE_VERSION .*/WIRE_VERSION 999/'
expect 'a changed document is noticed' \
    notices "the table 'fields GRANT' is not" docs/protocol.md '/^| .reason. .* U8 .*35/s/35/36/'
expect 'a row without a meaning is noticed' \
    notices 'nothing is said about `waiting`' docs/protocol.md '/^| .waiting/s/ 30 .*/ 30 | |/'
expect 'a table that is gone is noticed' \
    notices "the table 'flags' is missing" docs/protocol.md '/table: flags/d'
expect 'a table is mended' mends '/^| .reason. .* U8 .*35/s/35/36/'
expect 'a lost row is mended' mends '/^| BAD_FRAME /d'
finish
