#!/bin/sh -e
# needs: CONFIG_TEST_SYSCTL
# test_sysctl has sysctls of every kind for tests like this: what is written is read, and what does not fit is not.
. "$KMODPIPE_LIB"

cd /proc/sys/debug/test_sysctl

# wrote FILE TEXT READ: what is in FILE after TEXT was written to it, accepted or not.
wrote() {
    echo "$2" > "$1" 2>/dev/null || true
    read=$(cat "$1")
    echo "$1: '$2' written, '$read' read"
    [ "$read" = "$3" ]
}

wrote int_0001 100 100                   # from 0 to 100
wrote int_0001 101 100
wrote int_0001 -1 100
wrote int_0002 -2147483648 -2147483648
wrote int_0002 2147483648 -2147483648    # one too many
wrote int_0003 '4 5 6 7' '4	5	6	7'
wrote uint_0001 4294967295 4294967295
wrote uint_0001 4294967296 4294967295
wrote uint_0001 -1 4294967295
wrote string_0001 kmodpipe kmodpipe
wrote string_0001 "$(printf '%080d' 0)" "$(printf '%064d' 0)"
wrote bitmap_0001 '1-3,9,10' '1-3,9-10'
