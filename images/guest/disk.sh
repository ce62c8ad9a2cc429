#!/bin/sh
# Makes $OUT/tools.img: the file system of a disk with the files of $TREE, which guests mount read-only at
# /kmodpipe/disk.
#
#   COMMANDS  the folder of the file with this name: what debugfs does, one after the other
#   BLOCKS    of 4096 bytes
#   INODES
#
# debugfs puts every file where it is told, with root as its owner; mke2fs -d would take owners, times and the
# order of folders from this machine. Without a journal and checksums: nobody writes to it. The same files give
# the same bytes.
set -eu
. "$(dirname "$0")/programs.sh"
export E2FSPROGS_FAKE_TIME=1600000000

image=$out/tools.img
truncate -s "$((BLOCKS * 4096))" "$image"
mke2fs -q -F -t ext4 -O none,extent,filetype,large_file,sparse_super -b 4096 -I 256 -m 0 -N "$INODES" \
    -U 00000000-0000-4000-8000-000000000003 \
    -E hash_seed=00000000-0000-4000-8000-000000000004,nodiscard,lazy_itable_init=0,root_owner=0:0 "$image"
# The folder that fsck wants is of no use here.
(cd "$TREE" && { echo 'rmdir /lost+found'; cat "$COMMANDS/commands"; } |
    debugfs -w -f - "$image" 2>&1 >/dev/null) | sed 1d >"$out/errors"
# debugfs ends with status 0 whatever came of its commands.
if [ -s "$out/errors" ]; then
    head -n 20 "$out/errors"
    echo "the disk could not be filled" >&2
    exit 1
fi
rm "$out/errors"
debugfs -R 'cat /.kmodpipe' "$image" 2>/dev/null | grep -q .
e2fsck -fn "$image" 2>&1
