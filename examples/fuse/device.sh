#!/bin/sh -e
# needs: CONFIG_CUSE
# A character device whose driver is this script: it gives back, in capitals, what was last written to it.
. "$KMODPIPE_LIB"

# number VALUE BYTES: appends a little-endian number to $body.
number() {
    value=$1 bytes=$2
    while [ "$bytes" -gt 0 ]; do
        low=$((value & 255)) value=$((value >> 8)) bytes=$((bytes - 1))
        body="$body\\0$((low >> 6))$((low >> 3 & 7))$((low & 7))"
    done
}

numbers() {
    size=$1
    shift
    for one; do number "$one" "$size"; done
}

# answer ERRNO [FILE]: a reply with $body, and the file behind it, in the one write that a reply is.
answer() {
    length=$((${#body} / 5 + 16))
    [ $# = 1 ] || length=$((length + $(stat -c %s "$2")))
    content=$body body=
    numbers 4 $length $((-$1)) "$unique" "$unique_high"
    { printf %b "$body$content"; [ $# = 1 ] || cat "$2"; } > reply
    dd if=reply bs=1M count=1 >&9 2>/dev/null
    body=
}

serve() {
    body=
    while dd of=request bs=1M count=1 <&9 2>/dev/null; do
        set -- $(od -An -v -tu4 -N80 request)
        unique=$3 unique_high=$4
        case $2 in
            4096) # CUSE_INIT: the device's limits, and its name.
                numbers 4 7 31 0 0 65536 65536 0 0; numbers 4 0 0 0 0 0 0 0 0 0 0
                printf 'DEVNAME=capitals\000' > name
                answer 0 name ;;
            14) numbers 8 0; numbers 4 1 0; answer 0 ;;                 # OPEN
            15) head -c "${15}" kept > part; answer 0 part ;;           # READ, always from the start
            16) tail -c +81 request | tr a-z A-Z > kept                 # WRITE
                numbers 4 "${15}" 0; answer 0 ;;
            18) answer 0                                                # RELEASE
                [ "$(head -n 1 kept)" != END ] || return 0 ;;
            *)  answer 38 ;;                                            # ENOSYS
        esac
        echo "$2" >> operations
    done
}

: > kept
exec 9<> /dev/cuse
serve > serve.log 2>&1 &
for _ in $(seq 100); do
    [ -c /dev/capitals ] && break
    sleep 0.1
done
[ -e /sys/class/cuse/capitals/waiting ]

back() { dd if=/dev/capitals bs=64k count=1 2>/dev/null; }

echo 'some words' > /dev/capitals
[ "$(back)" = 'SOME WORDS' ]
seq 1 8000 | sed 's/$/x/' | head -c 32k > long
dd if=long of=/dev/capitals bs=32k 2>/dev/null
tr x X < long > expected
back | cmp - expected
sort -n operations | uniq -c

# The device goes with its server.
echo END > /dev/capitals
exec 9>&-
for _ in $(seq 100); do
    [ -c /dev/capitals ] || break
    sleep 0.1
done
[ ! -e /dev/capitals ]
