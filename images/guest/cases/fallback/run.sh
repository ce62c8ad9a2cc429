#!/bin/sh
# A layer that is on ramfs, which has neither extended attributes nor file handles: there is no index without them.
#
#   run.sh OPTIONS upper|lower      "default" for none; which layer that is, the other one is on a disk
. "$KMODPIPE_LIB"

given=$(options "${1:?options}")

must mkdir disk ram merged
make_disk disk.img 16
mount_disk "$DISK" disk
must mount -t ramfs ram ram
case ${2:?upper or lower} in
    upper) changed=$PWD/ram below=$PWD/disk/lower ;;
    lower) changed=$PWD/disk below=$PWD/ram/lower ;;
    *) die "upper or lower, not $2" ;;
esac
must mkdir "$below" "$changed/upper" "$changed/work"
echo one > "$below/f"
must ln "$below/f" "$below/g"

mount_overlay "$given" "$changed" "$PWD/merged" "$below"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    # A hard link that is copied up stays one with the other name only by the index.
    echo more >> merged/f || die "the file cannot be copied up"
    case $(tr '\n' ' ' < merged/f),$(tr '\n' ' ' < merged/g) in
        'one more ,one ') result=unindexed ;;
        'one more ,one more ') result=indexed ;;
        *) result=content-lost ;;
    esac
    must umount merged
fi
must umount ram
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
