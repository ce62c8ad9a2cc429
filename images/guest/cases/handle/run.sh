#!/bin/sh
# The handles of a file and a folder in the upper layer alone, opened over a remount: what an NFS server does.
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
    must mkdir -p merged/folder/inner
    echo new > merged/new || die "no file can be made"
    handle=$(kp-handle encode merged/new) || die "there is no handle: $handle"
    folder=$(kp-handle encode merged/folder/inner) || die "there is no handle: $folder"
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
    # Its place has to be found as well, from the handle up to the layer's root.
    place=$(kp-handle decode merged "$folder")
    observe told "$told"
    observe place "$place"
    case $told,$place in
        E?*,*) result=$told ;;
        *,E?*) result=$place ;;
        *new,*\ "$PWD/merged/folder/inner") result=found ;;
        *) result=other ;;
    esac
    must umount merged
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
