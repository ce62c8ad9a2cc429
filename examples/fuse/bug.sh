#!/bin/sh -e
# needs: CONFIG_FUSE_FS
# A server may put pages into the kernel's cache of a file (FUSE_NOTIFY_STORE). A folder has no such content: the
# kernel reads entries from pages that it put there itself. To store into the root folder must be refused.
. "$KMODPIPE_LIB"

mkdir m
exec 9<> /dev/fuse
must mount -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 kmodpipe m

# store NODE: struct fuse_out_header (44 bytes in all, notification 4, no request), struct fuse_notify_store_out
# (4 bytes for the node, from its start), and these four. One write, which the kernel answers.
store() {
    printf %b "\\054\\0\\0\\0\\04\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0" > message
    printf %b "\\0$1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\04\\0\\0\\0\\0\\0\\0\\0data" >> message
    dd if=message bs=44 count=1 2> told >&9
}

# There is no node 7.
if store 7; then exit 1; fi
grep 'No such file' told
if store 1; then stored=yes; else stored=no; fi
cat told
umount m
[ $stored = no ] || { echo "stored into a folder"; exit 1; }
grep -q 'Invalid argument' told
