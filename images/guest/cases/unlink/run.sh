#!/bin/sh
# A hard link that was copied up loses all its names: what becomes of its entry in the index.
#
#   run.sh OPTIONS keep|change      of both mounts; whether the UUID changes between the copy-up and the unlinks
#
#   removed    the index is empty
#   blocked    a whiteout stands in its place, and its handle leads nowhere: what nfs_export needs
#   left       the entry is still there, or the handle leads to the lower file
. "$KMODPIPE_LIB"

given=$(options "${1:?options}")
index=disk/work/index

disk_of_layers
mount_overlay "$given"
if [ "$MOUNT_RESULT" = mounted ]; then
    append first merged/h1
    handle=$(kp-handle encode merged/h1)
    observe entries_before "$(index_entries)"
    mount_again "$given" "${2:?keep or change}"
fi
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    must rm merged/h1 merged/h2 merged/h3
    entries=$(find $index -mindepth 1 ! -name '#*' ! -type c | wc -l)
    whiteouts=$(find $index -mindepth 1 ! -name '#*' -type c | wc -l)
    observe entries "$entries"
    observe whiteouts "$whiteouts"
    case $handle in
        EOPNOTSUPP) told=EOPNOTSUPP ;;
        *) told=$(kp-handle decode merged "$handle") ;;
    esac
    observe handle "$told"
    case $entries,$whiteouts,$told in
        0,0,EOPNOTSUPP) result=removed ;;
        0,1,ESTALE) result=blocked ;;
        *) result=left ;;
    esac
    must umount merged
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
