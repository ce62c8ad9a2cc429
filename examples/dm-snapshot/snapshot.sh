#!/bin/sh -e
# needs: CONFIG_DM_SNAPSHOT CONFIG_BLK_DEV_LOOP
# A snapshot of a loop device keeps what was there before writes to either side, and is merged back.
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

random() { head -c 8192k /dev/urandom > "$1"; }

# spot SOURCE DEVICE MIB: writes half a MiB there, as far as the device itself.
spot() { dd if="$1" of="$2" bs=512k count=1 seek=$(($3 * 2)) conv=notrunc,fsync 2>/dev/null; }

# same DEVICE FILE: compares what the device has now.
same() {
    echo 3 > /proc/sys/vm/drop_caches
    head -c 8192k "$1" | cmp - "$2"
}

random disk; random news; truncate -s 8M store; cp disk as-it-was
loop disk; disk=$DISK; loop store; store=$DISK

create origin; origin=$NODE
load origin snapshot-origin "$disk"
resume origin
create snapshot; snapshot=$NODE
load snapshot snapshot "$disk $store P 8"
resume snapshot

# Each side has its own: 1 MiB is written to the origin, 2 to the snapshot, 5 to both.
spot news "$origin" 1
spot news "$snapshot" 2
spot news "$origin" 5
spot as-it-was "$snapshot" 5
cp as-it-was of-origin; spot news of-origin 1; spot news of-origin 5
cp as-it-was of-snapshot; spot news of-snapshot 2; spot as-it-was of-snapshot 5
same "$origin" of-origin
same "$snapshot" of-snapshot
status snapshot; echo "snapshot: $STATUS"      # sectors in use / sectors there are, those of metadata
case $STATUS in [1-9]*/16384\ *) ;; *) exit 1 ;; esac

# Taken up again from its store, it is what it was.
remove snapshot
create snapshot
load snapshot snapshot "$disk $store P 8"
resume snapshot
same "$NODE" of-snapshot
remove snapshot

# Merged, the origin has what the snapshot had.
suspend origin
load origin snapshot-merge "$disk $store P 8"
resume origin
for _ in $(seq 100); do
    status origin
    # All that is in use is metadata: nothing is left to merge.
    [ "${STATUS%%/*}" = "${STATUS##* }" ] && break
    sleep 0.1
done
echo "merge: $STATUS"
same "$origin" of-snapshot
remove origin
same "$disk" of-snapshot
must losetup -d "$disk"
must losetup -d "$store"
exit 0
# ioctl
# f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAHAAAAeAAA
# AAAAAAB4AEAAAAAAAHgAQAAAAAAASQAAAAAAAABQQAAAAAAAAAgAAAAAAAAAMcAx/0iNNUUAAABIifO6AEAAAA8FuBAAAAC/AwAA
# AIszSIPDBEiJ2g8FicW4AQAAAL8BAAAASInei1MMDwW4PAAAAInv998PBQ==
