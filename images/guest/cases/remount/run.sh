#!/bin/sh
# An overlay with something in it is mounted again, with what options and after what; and then looked into.
#
#   run.sh FIRST SECOND keep|change|cleared     options of the two mounts, "default" for none; what becomes of
#                                               the UUID; cleared: there never is one
. "$KMODPIPE_LIB"

first=$(options "${1:?the first mount}")
second=$(options "${2:?the second mount}")

disk_of_layers "${3:?keep, change or cleared}"
refused=first
if first_use "$first"; then
    observe origin_uuid "$(origin_of disk/upper/f "$DISK")"
    mount_again "$second" "$3"
    refused=second
fi
result=$MOUNT_RESULT
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
