#!/bin/sh
# A container's disk is copied and the copy started beside the original, as Virtuozzo does. The outcome is the
# copy's; the original has to come out intact.
#
#   run.sh FIRST SECOND keep|change     options of the mounts before and after; the UUID of the copy
. "$KMODPIPE_LIB"

first=$(options "${1:?the first mount}")
second=$(options "${2:?the second mount}")

must mkdir copy merged-copy
disk_of_layers
if ! first_use "$first"; then
    must umount disk
    must losetup -d "$DISK"
    observe refused first
    observe outcome "$MOUNT_RESULT"
    exit
fi
must umount merged
must umount disk

must cp disk.img copy.img
COPY=$(losetup -f) || die "no free loop device"
must losetup "$COPY" copy.img
if [ "${3:?keep or change}" = keep ]; then twins; else change_uuid "$COPY"; fi
mount_disk "$DISK" disk
mount_disk "$COPY" copy

mount_overlay "$second"
original=$MOUNT_RESULT
mount_overlay "$second" "$PWD/copy" "$PWD/merged-copy"
result=$MOUNT_RESULT
# Both are mounted before either is looked into: neither must see the other's.
if [ "$original" = mounted ]; then
    survey merged
    original=$SURVEY
    for name in was.content was.inodes was.hardlinks; do
        must cp $name copy.${name#was.}
    done
fi
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged-copy")"
    survey merged-copy copy "$PWD/copy"
    result=$SURVEY
    must umount merged-copy
fi
[ "$original" = "$MOUNT_RESULT" ] || must umount merged
must umount disk
must umount copy
must losetup -d "$DISK"
must losetup -d "$COPY"
observe original "$original"
observe outcome "$result"
