#!/bin/sh -e
# needs: CONFIG_FUSE_FS
# A file system whose server is this script: a folder with one file, which is listed, read, written, cut short, and
# read again. The server keeps the content in ./store. (include/uapi/linux/fuse.h says what the messages are.)
. "$KMODPIPE_LIB"

# number VALUE BYTES: appends a little-endian number to $body.
number() {
    value=$1 bytes=$2
    while [ "$bytes" -gt 0 ]; do
        low=$((value & 255)) value=$((value >> 8)) bytes=$((bytes - 1))
        body="$body\\0$((low >> 6))$((low >> 3 & 7))$((low & 7))"
    done
}

# numbers BYTES VALUE...: each of so many bytes.
numbers() {
    size=$1
    shift
    for one; do number "$one" "$size"; done
}

# attributes NODE: what stat shows of the folder, 1, or the file, 2 (struct fuse_attr).
attributes() {
    if [ "$1" = 1 ]; then long=0 mode=$((0040755)); else long=$(stat -c %s store) mode=$((0100644)); fi
    numbers 8 "$1" "$long" $(((long + 511) / 512)) 0 0 0
    numbers 4 0 0 0 $mode 1 0 0 0 4096 0
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
        # Header: length, operation, number of the request, node; then what the operation has.
        set -- $(od -An -v -tu4 -N80 request)
        unique=$3 unique_high=$4 node=$5
        case $2 in
            26) numbers 4 7 31 65536 0; numbers 2 8 6; numbers 4 32768 1; numbers 4 0 0 0 0 0 0 0 0 0
                answer 0 ;;                                             # INIT
            1)  if [ "$(tail -c +41 request | tr -d '\000')" = file ]; then
                    numbers 8 2 0 0 0; numbers 4 0 0; attributes 2; answer 0
                else
                    answer 2
                fi ;;                                                   # LOOKUP
            2 | 42) ;;                                                  # FORGET: no reply
            3)  numbers 8 0; numbers 4 0 0; attributes "$node"; answer 0 ;;     # GETATTR
            4)  # SETATTR: of what can be set, the size (bit 3 of the first word).
                if [ $((${11} & 8)) != 0 ]; then truncate -s "${15}" store; fi
                numbers 8 0; numbers 4 0 0; attributes "$node"; answer 0 ;;
            14 | 27) numbers 8 0; numbers 4 0 0; answer 0 ;;            # OPEN, OPENDIR
            15) # READ: offset, size
                tail -c +$((${13} + 1)) store | head -c "${15}" > part
                answer 0 part ;;
            16) # WRITE: the content is behind a header of 80 bytes.
                tail -c +81 request | dd of=store bs=1M seek="${13}" oflag=seek_bytes conv=notrunc 2>/dev/null
                numbers 4 "${15}" 0; answer 0 ;;
            28) # READDIR: one entry; its name has room for eight.
                if [ "${13}" = 0 ]; then numbers 8 2 1; numbers 4 4 8; body="$body\\0146\\0151\\0154\\0145"; numbers 4 0; fi
                answer 0 ;;
            18 | 25 | 29) answer 0 ;;                                   # RELEASE, FLUSH, RELEASEDIR
            38) answer 0; return ;;                                     # DESTROY
            *)  answer 38 ;;                                            # ENOSYS
        esac
        echo "$2" >> operations
    done
}

seq 1 3000 > store                      # 14 KB, some pages
cp store first
mkdir m
exec 9<> /dev/fuse
must mount -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0,allow_other kmodpipe m
serve > serve.log 2>&1 &

[ "$(ls m)" = file ]
[ "$(stat -c '%s %a %F' m/file)" = "$(stat -c %s store) 644 regular file" ]
cmp m/file first
if cat m/nothing 2> told; then exit 1; fi
grep 'No such file' told

# Written through the kernel's pages, at the start and in the middle, the server has it.
seq 9000 -1 1 > second
cat second > m/file
cmp store second
printf MIDDLE | dd of=m/file bs=1 seek=10000 conv=notrunc 2>/dev/null
[ "$(tail -c +10001 store | head -c 6)" = MIDDLE ]
[ "$(stat -c %s store)" = "$(stat -c %s second)" ]

# What the server changes is read once the kernel forgets what it knew.
echo changed > store
echo 3 > /proc/sys/vm/drop_caches
[ "$(cat m/file)" = changed ]

must umount m
sort -n operations | uniq -c
for operation in 1 3 4 14 15 16 18 26 28; do grep -qx $operation operations; done
