#!/bin/sh -e
# needs: mkfs.ext4 e2fsck CONFIG_BLK_DEV_NVME
# The disk is found, is the one that QEMU has, and keeps what is written to it.
. "$KMODPIPE_LIB"

# The driver looks for its disks after it was loaded.
for _ in $(seq 100); do
    [ -b /dev/nvme0n1 ] && break
    sleep 0.1
done
[ -b /dev/nvme0n1 ] || skip "this guest has no NVMe disk: --flavour disk"
sys=/sys/class/nvme/nvme0
model=$(cat $sys/model)
echo "$model serial $(cat $sys/serial), $(cat $sys/state), $(cat /sys/block/nvme0n1/size) sectors"
case $model in QEMU*) ;; *) exit 1 ;; esac
[ "$(cat /sys/block/nvme0n1/size)" = 65536 ]

# Whole, in requests of many pages, and in single sectors.
head -c 8192k /dev/urandom > written
dd if=written of=/dev/nvme0n1 bs=1M seek=4 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/nvme0n1 bs=1M skip=4 count=8 2>/dev/null | cmp - written
for sector in 0 7 4095 65535; do
    echo "sector $sector" | dd of=/dev/nvme0n1 bs=512 seek=$sector conv=sync,fsync 2>/dev/null
done
echo 3 > /proc/sys/vm/drop_caches
for sector in 0 7 4095 65535; do
    [ "$(dd if=/dev/nvme0n1 bs=512 skip=$sector count=1 2>/dev/null | head -n 1)" = "sector $sector" ]
done

mkfs.ext4 -q -F /dev/nvme0n1
echo 3 > /proc/sys/vm/drop_caches
e2fsck -fn /dev/nvme0n1
