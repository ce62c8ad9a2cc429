#!/bin/sh -e
# needs: mkfs.ext4 e2fsck CONFIG_ZRAM
# Pages of each kind, written through each compressor, are read back: of zeroes, of one word of eight bytes, of noise, of text.
. "$KMODPIPE_LIB"

sys=/sys/block/zram0
seq 1 200000 > text                     # 1.3 MiB, which compress
head -c 1024k /dev/urandom > noise         # which do not
head -c 1024k /dev/zero > zeroes
yes aWordOf | head -c 1024k > word
cat zeroes word noise text | head -c 4096k > written

for algorithm in $(tr -d '[]' < $sys/comp_algorithm); do
    echo "$algorithm" > $sys/comp_algorithm
    echo 16M > $sys/disksize
    dd if=written of=/dev/zram0 bs=64k conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    head -c 4096k /dev/zram0 | cmp - written

    # orig_data_size compr_data_size mem_used_total mem_limit mem_used_max same_pages ...
    read -r original compressed used _ _ same _ < $sys/mm_stat
    echo "$algorithm: $original bytes in $compressed, $used used, $same pages of one word"
    [ "$original" -gt 3000000 ] && [ "$compressed" -lt "$original" ] && [ "$same" -ge 512 ]

    # A file system on it is whole after a round trip.
    mkfs.ext4 -q -F /dev/zram0
    echo 3 > /proc/sys/vm/drop_caches
    e2fsck -fn /dev/zram0 > check || { cat check; exit 1; }

    # What is reset takes no memory, and reads as zeroes.
    echo 1 > $sys/reset
    [ "$(cat $sys/disksize)" = 0 ]
    read -r original _ < $sys/mm_stat
    [ "$original" = 0 ]
done
