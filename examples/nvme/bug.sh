#!/bin/sh -e
# needs: CONFIG_BLK_DEV_NVME
# A queue has 2 to 4095 entries: a command's id has twelve bits for the tag of its request. The parameter must refuse
# what is beyond. No disk is needed for that.
. "$KMODPIPE_LIB"

depth=/sys/module/nvme/parameters/io_queue_depth
before=$(cat $depth)
taken=
for value in 0 1 4096 65536 4294967295; do
    if echo $value > $depth; then taken="$taken $value"; fi
done 2> refused
for value in 2 4095 "$before"; do echo "$value" > $depth; done
cat refused
[ -z "$taken" ] || { echo "taken, though out of range:$taken"; exit 1; }
[ "$(grep -c 'Invalid argument' refused)" = 5 ]
