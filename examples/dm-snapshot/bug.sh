#!/bin/sh -e
# needs: CONFIG_DM_SNAPSHOT CONFIG_BLK_DEV_LOOP
# A transient store (N) remembers nothing that could be merged: a merge from one must be refused as a table. Where it
# is taken, its first step calls a function that the store does not have.
. "$KMODPIPE_LIB"

# The guest has no dmsetup: what follows sends the ioctls (include/uapi/linux/dm-ioctl.h) by a program of 193 bytes,
# at the end, whose source is ioctl.S.
sed '1,/^# ioctl$/d' "$0" | cut -c3- | base64 -d > ioctl
chmod +x ioctl

# numbers BYTES VALUE...: little-endian.
numbers() {
    width=$1 text=
    shift
    for value; do
        left=$width
        while [ "$left" -gt 0 ]; do
            low=$((value & 255)) value=$((value >> 8)) left=$((left - 1))
            text="$text\\0$((low >> 6))$((low >> 3 & 7))$((low & 7))"
        done
    done
    printf %b "$text"
}

# padded BYTES TEXT: with zeroes behind it.
padded() { printf %s "$2"; head -c $(($1 - ${#2})) /dev/zero; }

# dm COMMAND NAME FLAGS [TARGET PARAMETERS]: the answer is in ./answer; the status is the errno.
dm() {
    {
        numbers 4 $((0xc138fd00 + $1)) 4 0 0 4096 312 $(($# > 3)) 0 "$3" 0 0
        numbers 8 0
        padded 128 "$2"; padded 136 ''
        if [ $# -gt 3 ]; then
            numbers 8 0 16384; numbers 4 0 0
            padded 16 "$4"; printf '%s\000' "$5"
        fi
    } > question
    ./ioctl < question > answer 3<> /dev/mapper/control
}

loop() { DISK=$(losetup -f); must losetup "$DISK" "$1"; }
create() { must dm 3 "$1" 0; NODE=/dev/dm-$(od -An -tu1 -j40 -N1 answer | tr -d ' '); }
load() { must dm 9 "$1" 0 "$2" "$3"; }
clear() { must dm 10 "$1" 0; }
suspend() { must dm 6 "$1" 2; }
resume() { must dm 6 "$1" 0; }
remove() { must dm 4 "$1" 0; }
# The target's line is behind the header and the target's own 40 bytes.
status() { must dm 12 "$1" 0; STATUS=$(tail -c +353 answer | tr '\000' '\n' | head -n 1); }

truncate -s 8M disk store
loop disk; disk=$DISK; loop store; store=$DISK
create merge
# One from a persistent store (P) can be had.
load merge snapshot-merge "$disk $store P 8"
clear merge

dm 9 merge 0 snapshot-merge "$disk $store N 8" && status=0 || status=$?
if [ $status = 0 ]; then
    echo "a merge from a transient store is taken"
    resume merge
    exit 1
fi
echo "refused: errno $status"
[ $status = 22 ]                        # EINVAL
remove merge
must losetup -d "$disk"
must losetup -d "$store"
exit 0
# ioctl
# f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAHAAAAeAAA
# AAAAAAB4AEAAAAAAAHgAQAAAAAAASQAAAAAAAABQQAAAAAAAAAgAAAAAAAAAMcAx/0iNNUUAAABIifO6AEAAAA8FuBAAAAC/AwAA
# AIszSIPDBEiJ2g8FicW4AQAAAL8BAAAASInei1MMDwW4PAAAAInv998PBQ==
