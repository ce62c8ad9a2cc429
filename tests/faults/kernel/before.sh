#!/bin/sh
# Reads an overlay without an upper layer: where none of the faults is. after.sh is this once more.
. "$KMODPIPE_LIB"

must mkdir a b merged
echo one > a/one
echo two > b/two
must mount -t overlay overlay -o "lowerdir=$PWD/a:$PWD/b" merged
[ "$(cat merged/one merged/two | tr '\n' ' ')" = 'one two ' ] || die "the overlay has another content"
must umount merged
