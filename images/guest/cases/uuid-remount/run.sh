#!/bin/sh
# The sequence from the review thread: an overlay that was used with index=on, on a disk whose UUID changes.
#
#   run.sh OPTION       of the second mount: index=on, index=nouuid, or "default" for none at all
. "$KMODPIPE_LIB"

case ${1:?which option has the second mount?} in
    default) second= ;;
    *) second=$1 ;;
esac

must mkdir disk merged
make_disk disk.img 16 mkfs
mount_disk "$DISK" disk
must mkdir disk/lower disk/upper disk/work

mount_overlay index=on
[ "$MOUNT_RESULT" = mounted ] || die "the first mount, with index=on, gave $MOUNT_RESULT"
must umount merged
must umount disk

change_uuid "$DISK"

mount_disk "$DISK" disk
mount_overlay "$second"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    must umount merged
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
