#!/bin/sh
# Options that have to be refused, on layers with nothing wrong.
#
#   run.sh OPTIONS
. "$KMODPIPE_LIB"

disk_of_layers
mount_overlay "${1:?options}"
result=$MOUNT_RESULT
[ "$result" != mounted ] || must umount merged
# A refused mount leaves nothing behind.
observe upper "$(find disk/upper -mindepth 1 | wc -l)"
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
