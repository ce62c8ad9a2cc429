#!/bin/sh -e
# needs: CONFIG_SQUASHFS
# A symbolic link is at most a page. In the image at the end, made by mksquashfs without compression, the inode of
# `link` says 6 bytes, "target"; here it is made to say 5000, and must be refused.
. "$KMODPIPE_LIB"

sed '1,/^# image$/d' "$0" | cut -c3- | base64 -d | gzip -d > image
mkdir mounted
must mount -t squashfs -o loop,ro image mounted
[ "$(readlink mounted/link)" = target ]
must umount mounted

printf '\210\023\000\000' | dd of=image bs=1 seek=118 conv=notrunc 2>/dev/null
must mount -t squashfs -o loop,ro image mounted
size=$(stat -c %s mounted/link 2> told) || size=none
cat told
must umount mounted
[ "$size" = none ] || { echo "a symbolic link of $size bytes"; exit 1; }
grep -q 'Invalid argument' told
exit
# image
# H4sIAAAAAAACA+3NvQ3CMBAF4Hd2REXhEgkpozAKPwWCKAgJkgEyCnOwAimpKOmZIRzOUwpmeJ91erZP9h2bSxPg0nqDhMwwxyMYCt+X4xXezB
# dzoC3PN+ad2TNXXcRg4ATLvwMzr3Z3Pexbw2fqBr755dIrei06XsKY0depOtdp6pR/s4vceUJERERERERERl8cUM8kABAAAA==
