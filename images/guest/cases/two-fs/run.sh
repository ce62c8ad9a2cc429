#!/bin/sh
# The lower layer is on another file system than the upper one.
#
#   run.sh FIRST SECOND keep|lower|upper    options of the two mounts, "default" for none; whose UUID changes
. "$KMODPIPE_LIB"

# On several file systems a folder's inode number is none that is stored, and no overlay keeps it over a mount.
INODES='h1 h2 h3 f g d/x moved/y'

first=$(options "${1:?the first mount}")
second=$(options "${2:?the second mount}")

must mkdir lower disk merged
make_disk lower.img 16
LOWER=$DISK
make_disk upper.img 16
UPPER=$DISK
mount_disk "$LOWER" lower
mount_disk "$UPPER" disk
must mkdir disk/upper disk/work
fill_lower lower

# two_fs HOW OPTIONS: first_use or mount_overlay, with these layers.
two_fs() {
    "$1" "$2" "$PWD/disk" "$PWD/merged" "$PWD/lower"
}

two_fs first_use "$first" || die "the first mount gave $MOUNT_RESULT"
observe origin_uuid "$(origin_of disk/upper/f "$LOWER")"
must umount merged
must umount disk
must umount lower
case ${3:?keep, lower or upper} in
    lower) change_uuid "$LOWER" ;;
    upper) change_uuid "$UPPER" ;;
    keep) ;;
    *) die "keep, lower or upper, not $3" ;;
esac
mount_disk "$LOWER" lower
mount_disk "$UPPER" disk

two_fs mount_overlay "$second"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    observe index "$(shown_option "$PWD/merged" index)"
    observe uuid "$(shown_option "$PWD/merged" uuid)"
    survey merged
    result=$SURVEY
    must umount merged
fi
must umount disk
must umount lower
must losetup -d "$LOWER"
must losetup -d "$UPPER"
observe outcome "$result"
