#!/bin/sh
# Two tasks have files copied up at the same time, and the module has to count all of them.
. "$KMODPIPE_LIB"

counted() {
    cat /sys/module/overlay/parameters/copied_up 2>/dev/null
}

must mkdir lower upper work merged
for n in 1 2 3 4; do
    echo lower | tee "lower/a$n" > "lower/b$n"
done
mount_overlay '' "$PWD"
[ "$MOUNT_RESULT" = mounted ] || die "the mount gave $MOUNT_RESULT"
before=$(counted) || skip "this module counts nothing"
for task in a b; do
    for n in 1 2 3 4; do
        echo more >> "merged/$task$n"
    done &
done
wait
[ "$(cat upper/* | grep -c more)" = 8 ] || die "not every file was copied up"
counted=$(($(counted) - before))
observe counted "$counted"
# The eight files, and the folder that holds them was there already.
[ "$counted" = 8 ] || die "$counted of 8 copy-ups were counted"
