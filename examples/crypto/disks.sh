#!/bin/sh -e
# needs: CONFIG_ZRAM CONFIG_CRYPTO_LZ4 CONFIG_CRYPTO_LZ4HC CONFIG_CRYPTO_ZSTD
# Each compressor has passed the kernel's own test vectors, and gives back what a disk of zram wrote through it.
. "$KMODPIPE_LIB"

# entry NAME KEY: from the paragraph of /proc/crypto about the compressor of that name.
entry() {
    awk -v name="$1" -v key="$2" -F ' *: *' '
        $1 == "name" { ours = $2 == name }
        ours && $1 == key { print $2; exit }' /proc/crypto
}

sys=/sys/block/zram0
{ seq 1 100000; head -c 512k /dev/urandom; head -c 512k /dev/zero; } | head -c 1536k > written
for name in lz4 lz4hc zstd; do
    [ "$(entry $name selftest)" = passed ]
    [ "$(entry $name module)" = $name ]

    echo $name > $sys/comp_algorithm
    grep -qF "[$name]" $sys/comp_algorithm
    echo 4M > $sys/disksize
    # While a disk uses it, it cannot be unloaded.
    [ "$(cat /sys/module/$name/refcnt)" -gt 0 ]
    dd if=written of=/dev/zram0 bs=64k conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    head -c 1536k /dev/zram0 | cmp - written
    read -r original compressed _ < $sys/mm_stat
    echo "$name: $original bytes in $compressed"
    [ "$compressed" -lt "$((original * 9 / 10))" ]
    echo 1 > $sys/reset
    [ "$(cat /sys/module/$name/refcnt)" = 0 ]
done
