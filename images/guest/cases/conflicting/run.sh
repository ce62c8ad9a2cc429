#!/bin/sh
# Two lower layers on a disk and its copy, which have the same UUID; the upper layer is on a third.
#
#   run.sh OPTIONS
. "$KMODPIPE_LIB"

given=$(options "${1:?options}")
twins

must mkdir disk one two merged
make_disk one.img 16
ONE=$DISK
mount_disk "$ONE" one
must mkdir one/layer
fill_lower one/layer
must umount one
must cp one.img two.img
TWO=$(losetup -f) || die "no free loop device"
must losetup "$TWO" two.img
make_disk disk.img 16
mount_disk "$ONE" one
mount_disk "$TWO" two
mount_disk "$DISK" disk
must mkdir disk/upper disk/work

mount_overlay "$given" "$PWD/disk" "$PWD/merged" "$PWD/one/layer:$PWD/two/layer"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe index "$(shown_option "$PWD/merged" index)"
    use_overlay merged
    must umount merged
fi
for name in disk two one; do
    must umount $name
done
for device in "$DISK" "$TWO" "$ONE"; do
    must losetup -d "$device"
done
observe outcome "$result"
