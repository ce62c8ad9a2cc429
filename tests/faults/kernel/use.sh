#!/bin/sh
# Mounts an overlay with an upper layer and has a file copied up. The clean-up behind the case unmounts it.
. "$KMODPIPE_LIB"

must mkdir lower upper work merged
echo lower > lower/file
mount_overlay '' "$PWD"
[ "$MOUNT_RESULT" = mounted ] || die "the mount gave $MOUNT_RESULT"
append more merged/file
[ "$(cat upper/file)" = "$(printf 'lower\nmore')" ] || die "nothing was copied up"
