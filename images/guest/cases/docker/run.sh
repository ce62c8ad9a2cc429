#!/bin/sh
# Containers as Docker makes them: several image layers below, shared by two containers, mounted without any
# option of overlayfs. Then the containers are started again, on a disk with another UUID or the same.
#
#   run.sh keep|change
. "$KMODPIPE_LIB"

must mkdir disk merged-a merged-b
make_disk disk.img 16
mount_disk "$DISK" disk
must mkdir disk/base disk/middle disk/top
fill_lower disk/base
echo middle > disk/middle/g
echo top > disk/top/only-top
for name in a b; do
    must mkdir -p disk/$name/upper disk/$name/work
done

# start CONTAINER
start() {
    mount_overlay '' "$PWD/disk/$1" "$PWD/merged-$1" "$PWD/disk/top:$PWD/disk/middle:$PWD/disk/base"
}

# worse A B: of two outcomes the one that hurts more.
worse() {
    for word in content-lost hardlinks-split inodes-changed; do
        case $1,$2 in
            "$word",* | *,"$word") echo $word; return ;;
        esac
    done
    echo "$1"
}

for name in a b; do
    start $name
    [ "$MOUNT_RESULT" = mounted ] || die "the first mount of container $name gave $MOUNT_RESULT"
done
for name in a b; do
    use_overlay merged-$name
    append "only $name" merged-$name/only-top
    remember merged-$name $name
done
[ "$(cat merged-a/only-top)" = "$(printf 'top\nonly a')" ] || die "a container sees what the other one wrote"
must umount merged-a
must umount merged-b
must umount disk

[ "${1:?keep or change}" = keep ] || change_uuid "$DISK"

mount_disk "$DISK" disk
start a
result=$MOUNT_RESULT
start b
observe a "$result"
observe b "$MOUNT_RESULT"
[ "$result" = "$MOUNT_RESULT" ] || die "container a: $result, b: $MOUNT_RESULT"
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged-a")"
    survey merged-a a "$PWD/disk/a"
    result=$SURVEY
    survey merged-b b "$PWD/disk/b"
    result=$(worse "$result" "$SURVEY")
    [ "$(cat merged-b/only-top)" = "$(printf 'top\nonly b')" ] || result=content-lost
    must umount merged-a
    must umount merged-b
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
