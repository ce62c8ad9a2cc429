#!/bin/sh -e
# needs: CONFIG_ZRAM_MULTI_COMP
# A request to compress again that means nothing is refused.
. "$KMODPIPE_LIB"

sys=/sys/block/zram0
echo "algo=lz4 priority=1" > $sys/recomp_algorithm
echo 16M > $sys/disksize
taken=
for request in type=idl level=3 priority=4; do
    if echo "$request" > $sys/recompress; then taken="$taken $request"; fi
done 2> refused
cat refused
echo 1 > $sys/reset
[ -z "$taken" ] || { echo "taken, though it means nothing:$taken"; exit 1; }
[ "$(grep -vc 'Invalid argument' refused)" = 0 ]
