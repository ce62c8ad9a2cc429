#!/bin/sh
# allocations: the first, second, third … allocation of a copy-up fails, each with a file of its own, until a
# copy-up needs fewer than that. disk: every request to the lower layer's disk fails for a while.
. "$KMODPIPE_LIB"

FAULTS=/sys/kernel/debug

# attempt N: appends to file N while the N-th allocation of this very process fails. Prints the status, and how
# many allocations were missing to the one that was to fail. Builtins only: a program's start allocates too.
attempt() {
    (
        exec 4<> /proc/self/fail-nth
        echo "$1" >&4
        echo more >> "merged/$1"
        status=$?
        read -r left <&4
        echo 0 >&4
        echo "$status $left"
    )
}

# check N STATUS: the file is what the status says.
check() {
    case $2 in
        0) want='one more ' ;;
        *) want='one ' ;;
    esac
    [ "$(tr '\n' ' ' < "merged/$1")" = "$want" ] || lost="$lost $1"
}

allocations() {
    # Those that may wait are nearly all; and a backtrace for each failure would fill the log.
    echo N > $FAULTS/failslab/ignore-gfp-wait || die "failslab cannot be set"
    echo 0 > $FAULTS/failslab/verbose
    n=1
    while [ $n -le 500 ]; do
        echo one > lower/$n
        n=$((n + 1))
    done
    mount_overlay '' "$PWD"
    [ "$MOUNT_RESULT" = mounted ] || die "the mount gave $MOUNT_RESULT"
    n=1 failed=0 lost=
    while told=$(attempt $n 2>> errors); do
        check $n "${told% *}"
        [ "${told% *}" = 0 ] || failed=$((failed + 1))
        [ "${told#* }" = 0 ] || break
        n=$((n + 1))
        [ $n -le 500 ] || die "a copy-up of more than 500 allocations"
    done
    echo Y > $FAULTS/failslab/ignore-gfp-wait
    observe allocations $((n - 1))
    observe failed_copy_ups $failed
    observe messages "$(sed 's/.*: //' errors | sort | uniq -c | tr -s ' \n' ' ')"
    [ $failed -gt 0 ] || die "no failure had an effect"
    # Once more, without failures: what failed works now.
    while [ $n -gt 0 ]; do
        append again merged/$n
        n=$((n - 1))
    done
}

disk() {
    make_disk disk.img 16
    must mkdir layer
    mount_disk "$DISK" layer
    must mkdir layer/lower
    echo one > layer/lower/1
    mount_overlay '' "$PWD" "$PWD/merged" "$PWD/layer/lower"
    [ "$MOUNT_RESULT" = mounted ] || die "the mount gave $MOUNT_RESULT"
    sync
    echo 3 > /proc/sys/vm/drop_caches
    echo 100 > $FAULTS/fail_make_request/probability || die "fail_make_request cannot be set"
    echo -1 > $FAULTS/fail_make_request/times
    echo 0 > $FAULTS/fail_make_request/verbose
    echo 1 > "/sys/block/${DISK#/dev/}/make-it-fail"
    lost=
    echo more >> merged/1 && status=0 || status=1
    echo 0 > "/sys/block/${DISK#/dev/}/make-it-fail"
    observe while_failing "$([ $status = 0 ] && echo worked || echo failed)"
    check 1 $status
    append again merged/1
    [ "$(tail -n 1 upper/1)" = again ] || lost="$lost upper"
}

must mount -t debugfs debugfs $FAULTS
must mkdir lower upper work merged
"$1"
must umount merged
observe outcome "$([ -z "$lost" ] && echo recovered || echo content-lost)"
[ -z "$lost" ] || observe lost "$lost"
