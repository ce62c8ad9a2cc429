#!/bin/sh -e
# needs: CONFIG_ZRAM_WRITEBACK
# A device of no size holds no page: zram must not take it as the one behind a disk. A disk whose size is not set
# yet is such a device, the disk itself included.
. "$KMODPIPE_LIB"

number=$(cat /sys/class/zram-control/hot_add)
taken=
for device in "zram$number" zram0; do
    if echo "/dev/$device" > /sys/block/zram0/backing_dev; then taken="$taken $device"; fi
done 2> refused
cat refused
[ -z "$taken" ] || { echo "taken, though it has no size:$taken"; exit 1; }
[ "$(grep -c 'Invalid argument' refused)" = 2 ]
echo "$number" > /sys/class/zram-control/hot_remove
