#!/bin/sh
# The handle of a file that is in the upper layer alone, opened over a remount: what an NFS server does.
#
#   run.sh OPTIONS keep|change      of both mounts; whether the UUID changes in between
. "$KMODPIPE_LIB"

given=$(options "${1:?options}")

must mkdir disk merged
make_disk disk.img 16
mount_disk "$DISK" disk
must mkdir disk/lower disk/upper disk/work

mount_overlay "$given"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe index "$(shown_option "$PWD/merged" index)"
    echo new > merged/new || die "no file can be made"
    handle=$(kp-handle encode merged/new) || die "there is no handle: $handle"
    must umount merged
    must umount disk
    [ "${2:?keep or change}" = keep ] || change_uuid "$DISK"
    mount_disk "$DISK" disk
    mount_overlay "$given"
    result=$MOUNT_RESULT
fi
if [ "$result" = mounted ]; then
    # By handle first: a lookup by name would bring the file into the caches.
    told=$(kp-handle read merged "$handle")
    observe told "$told"
    case $told in
        *new) result=found ;;
        E?*) result=$told ;;
        *) result=other ;;
    esac
    must umount merged
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
