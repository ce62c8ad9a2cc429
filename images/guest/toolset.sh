#!/bin/sh
# Collects in $OUT (/out) the programs that a flavour of the matrix or a case adds to the guest (tools = ["NAME"]),
# with those of their libraries that the root file system $ROOTFS does not have. A name without a row here is
# that of a Debian package. In an archive of their own: each MiB
# of the root file system costs every boot 10 ms.
#
#   TOOLSET  the set's name
set -eu
. "$(dirname "$0")/programs.sh"

case $TOOLSET in
    # xfs_admin -U is a bash script around xfs_db, which the cases call themselves.
    xfs) package=xfsprogs programs="mkfs.xfs xfs_db xfs_repair" ;;
    btrfs) package=btrfs-progs programs="mkfs.btrfs btrfstune btrfs" ;;
    *)
        echo "there is no set of tools '$TOOLSET'; known: btrfs xfs" >&2
        exit 1
        ;;
esac
for program in $programs; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is not here; it is in the package $package" >&2
        exit 1
    fi
    copy_program "$program" "$ROOTFS"
done
echo "  $TOOLSET: $(du -sk "$out" | cut -f1) KiB, $(find "$out" -type f | wc -l) files"
