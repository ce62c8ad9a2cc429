#!/bin/sh
# What the seeded defects are in, with as few allocations as it takes: each of them fails once.
. "$KMODPIPE_LIB"

disk_of_layers
mount_overlay index=on,nfs_export=on,uuid=off
if [ "$MOUNT_RESULT" = mounted ]; then
    for name in h1 d/x; do
        echo more >> "merged/$name"
    done
    rm -f merged/h1 merged/h2 merged/h3
    umount merged
fi
umount disk
losetup -d "$DISK"
