#!/bin/sh -e
# needs: CONFIG_ZRAM_MULTI_COMP
# Pages are compressed once more, by a second compressor, as they are asked for, and read as they were written.
. "$KMODPIPE_LIB"

sys=/sys/block/zram0
echo lzo-rle > $sys/comp_algorithm
echo "algo=lz4 priority=1" > $sys/recomp_algorithm
echo 16M > $sys/disksize
seq 1 200000 > written
dd if=written of=/dev/zram0 bs=64k conv=fsync 2>/dev/null

for request in type=idle type=huge type=huge_idle "type=idle priority=1" "algo=lz4"; do
    echo "$request" > $sys/recompress
done
echo 3 > /proc/sys/vm/drop_caches
head -c "$(stat -c %s written)" /dev/zram0 | cmp - written
echo 1 > $sys/reset
