#!/bin/sh -e
# needs: CONFIG_ZRAM_WRITEBACK
# Pages that do not compress are moved to a device behind the disk, here another zram, and are still what was written.
. "$KMODPIPE_LIB"

number=$(cat /sys/class/zram-control/hot_add)
echo 16M > "/sys/block/zram$number/disksize"
echo "/dev/zram$number" > /sys/block/zram0/backing_dev
echo 16M > /sys/block/zram0/disksize

head -c 2048k /dev/urandom > written
dd if=written of=/dev/zram0 bs=64k conv=fsync 2>/dev/null
read -r _ before _ < /sys/block/zram0/mm_stat
echo huge > /sys/block/zram0/writeback
read -r _ after _ < /sys/block/zram0/mm_stat
read -r count reads writes < /sys/block/zram0/bd_stat
echo "compressed: $before, then $after; behind it: $count pages, $reads read, $writes written"
[ "$after" -lt "$before" ] && [ "$count" -ge 400 ]

echo 3 > /proc/sys/vm/drop_caches
head -c 2048k /dev/zram0 | cmp - written
echo 1 > /sys/block/zram0/reset
echo "$number" > /sys/class/zram-control/hot_remove
