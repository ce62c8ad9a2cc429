#!/bin/sh
# An overlay with something in it is mounted again, with what options and after what; and then looked into.
#
#   run.sh FIRST SECOND keep|change|cleared     options of the two mounts, "default" for none; what becomes of
#                                               the UUID; cleared: there never is one
. "$KMODPIPE_LIB"

first=$(options "${1:?the first mount}")
second=$(options "${2:?the second mount}")

must mkdir disk merged
make_disk disk.img 16
[ "${3:?keep, change or cleared}" != cleared ] || clear_uuid "$DISK"
mount_disk "$DISK" disk
make_layers disk

mount_overlay "$first"
result=$MOUNT_RESULT
refused=first
if [ "$result" = mounted ]; then
    use_overlay merged
    remember merged
    origin=$(kp-handle uuid disk/upper/f)
    [ "$origin" != "$(uuid_of "$DISK" | tr -d -)" ] || origin=real
    observe origin_uuid "$origin"
    must umount merged
    must umount disk
    [ "$3" != change ] || change_uuid "$DISK"
    mount_disk "$DISK" disk
    mount_overlay "$second"
    result=$MOUNT_RESULT
    refused=second
fi
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    survey merged
    result=$SURVEY
    must umount merged
else
    observe refused "$refused"
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
