#!/bin/sh
# An overlay without an upper layer: nothing is stored, but handles may be exported.
#
#   run.sh OPTIONS one|two      "default" for none; the two layers are on one file system or on two
. "$KMODPIPE_LIB"

given=$(options "${1:?options}")

must mkdir disk other merged
make_disk disk.img 16
FIRST=$DISK
mount_disk "$FIRST" disk
must mkdir disk/a disk/b
second=$PWD/disk/b
if [ "${2:?one or two}" = two ]; then
    make_disk other.img 16
    mount_disk "$DISK" other
    second=$PWD/other
fi
echo a > disk/a/f
try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD/disk/a:$second${given:+,$given}"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    observe index "$(shown_option "$PWD/merged" index)"
    observe nfs_export "$(shown_option "$PWD/merged" nfs_export)"
    [ "$(cat merged/f)" = a ] || result=content-lost
    must umount merged
fi
must umount disk
must losetup -d "$FIRST"
if [ "$2" = two ]; then
    must umount other
    must losetup -d "$DISK"
fi
observe outcome "$result"
