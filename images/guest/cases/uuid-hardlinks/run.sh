#!/bin/sh
# Do hard links survive the change of the disk's UUID? A mount that succeeds can still damage data.
#
#   run.sh OPTION [keep]    OPTION of the second mount, "default" for none; keep: the UUID stays as it is
#
# A lower file has three names. It is copied up through h1 on an overlay with index=on, which keeps all three
# together. After the change h3 is written to: shared means that all names still are one file.
. "$KMODPIPE_LIB"

case ${1:?which option has the second mount?} in
    default) second= ;;
    *) second=$1 ;;
esac

# one_file: whether the three names are one file, in content, inode number and link count.
one_file() {
    for name in h1 h2 h3; do
        cmp -s merged/h1 merged/$name || return 1
        [ "$(stat -c %h-%i merged/$name)" = "3-$(stat -c %i merged/h1)" ] || return 1
    done
}

# append WORD NAME: through the overlay.
append() {
    echo "$1" >> "merged/$2" || die "cannot write to $2"
}

must mkdir disk merged
make_disk disk.img 16
must mount -t ext4 "$DISK" disk
must mkdir disk/lower disk/upper disk/work
echo original > disk/lower/h1 || die "cannot write to the disk"
must ln disk/lower/h1 disk/lower/h2
must ln disk/lower/h1 disk/lower/h3

mount_overlay index=on
[ "$MOUNT_RESULT" = mounted ] || die "the first mount, with index=on, gave $MOUNT_RESULT"
append first h1
one_file || die "index=on does not keep the links together even before the UUID changes"
observe nlink_before "$(stat -c %h merged/h1)"
observe index_entries_before "$(index_entries)"
must umount merged
must umount disk

[ "${2-}" = keep ] || change_uuid "$DISK"

must mount -t ext4 "$DISK" disk
mount_overlay "$second"
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    observe options "$(mount_options "$PWD/merged")"
    append second h3
    if one_file; then result=hardlinks-shared; else result=hardlinks-split; fi
    for name in h1 h2 h3; do
        observe "$name" "nlink $(stat -c %h merged/$name): $(cat merged/$name)"
    done
    observe nlink "$(stat -c %h merged/h1)"
    observe index_entries "$(index_entries)"
    must umount merged
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
