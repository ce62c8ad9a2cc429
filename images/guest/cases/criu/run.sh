#!/bin/sh
# File handles over a remount: CRIU keeps those of inotify watches in its image and opens them again later.
#
#   run.sh FIRST SECOND keep|change
#
#   identical     every handle still opens its file, and the files still have the same handles
#   resolved      every handle still opens its file, but files have other handles now
#   unresolved    some handle opens nothing, or another file
#   EOPNOTSUPP    the overlay has no handles
. "$KMODPIPE_LIB"

first=$(options "${1:?the first mount}")
second=$(options "${2:?the second mount}")
# A file and a link that were copied up, a folder of both layers, one in it, and a file that never was written.
watched='f h1 d d/x g'

# handles HOW: "NAME HANDLE" for each file.
handles() {
    for name in $watched; do
        echo "$name $(kp-handle "$1" merged/$name)"
    done
}

disk_of_layers
refused=first
if first_use "$first"; then
    handles encode > encoded
    handles watch > watches
    observe handle "$(sed -n 's/^f //p' encoded)"
    observe watch "$(sed -n 's/^f //p' watches)"
    cat encoded watches
    mount_again "$second" "${3:?keep or change}"
    refused=second
fi
result=$MOUNT_RESULT
if [ "$result" = mounted ]; then
    if grep -q ' EOPNOTSUPP$' encoded; then
        result=EOPNOTSUPP
        # What an inotify watch then has is the real file's, which no overlay decodes.
        observe watch_type "$(sed -n 's/^f \(.*\):.*/\1/p' watches)"
    else
        cmp -s encoded watches && observe same_in_watch yes || observe same_in_watch no
        result=identical
        # By handle first: what a lookup by name brings into the caches helps a handle along.
        while read -r name handle; do
            echo "$name $(kp-handle decode merged "$handle")"
            [ -z "${name##d}" ] || kp-handle read merged "$handle" > "read.$(basename "$name")"
        done < watches > decoded
        cat decoded
        handles encode > again
        cmp -s encoded again || result=resolved
        others=
        while read -r name inode path; do
            [ "$inode" = "$(stat -c %i "merged/$name")" ] || others="$others $name"
            # A folder is found with its path; of a file the kernel may know none, so what is in it decides.
            if [ "$name" = d ]; then
                [ "$path" = "$PWD/merged/d" ] && continue
            else
                cmp -s "read.$(basename "$name")" "merged/$name" && continue
            fi
            observe "lost.$name" "$inode $path"
            result=unresolved
        done < decoded
        observe other_inode "${others# }"
    fi
    observe options "$(mount_options "$PWD/merged")"
    survey merged
    observe data "$SURVEY"
    must umount merged
else
    observe refused "$refused"
fi
must umount disk
must losetup -d "$DISK"
observe outcome "$result"
