#!/bin/sh
# Makes the guest's root file system in $OUT (/out), inside the builder: no network, no root, nothing written
# elsewhere but in /tmp. The same builder and the same recipe give the same files.
#
#   /init -> sbin/kp-agent      PID 1
#   /sbin/kp-agent, kp-*       ours, static
#   /bin/busybox                Debian's static busybox, and a link for each applet
#   /sbin/mkfs.ext4 …           e2fsprogs with its shared libraries
#
# Device nodes are not made here (that needs root): the cpio writer adds /dev/console. The cases, their shell
# library and the module come in a second archive, made for each boot.
set -eu
. "$(dirname "$0")/programs.sh"

say() { printf '%s\n' "$*"; }

mkdir -p "$out/bin" "$out/sbin" "$out/etc"
for folder in dev proc sys tmp mnt root work; do
    mkdir -p "$out/$folder"
done

# A script's first line may name /usr/bin/env or /usr/bin/sh, a Debian package has its libraries below /usr/lib.
mkdir "$out/usr" "$out/lib" "$out/lib64"
for folder in bin sbin lib lib64; do
    ln -s "../$folder" "$out/usr/$folder"
done

# Packages for the guest (tools = […]) come from the release that its libraries are of.
[ ! -e /etc/os-release ] || install -m 0644 /etc/os-release "$out/etc/os-release"

# --- ours
compile() {
    target=$1
    shift
    say "  CC  $(basename "$target")"
    gcc -std=gnu11 -Wall -Wextra -Werror -O2 -static -s -ffile-prefix-map="$here"=. -o "$target" "$@"
}
compile "$out/sbin/kp-agent" "$here"/agent/*.c
for tool in kp-mount kp-handle kp-inject kp-sparse; do
    compile "$out/sbin/$tool" "$here/tools/$tool.c"
done
ln -s sbin/kp-agent "$out/init"

# For a guest that is used by hand.
install -m 0755 "$here/shell/run" "$out/bin/run"
install -m 0644 "$here/shell/start" "$out/etc/kmodpipe-shell"

# --- busybox
install -m 0755 "$(command -v busybox)" "$out/bin/busybox"
for applet in $(busybox --list); do
    case $applet in
        busybox | mke2fs | linuxrc | init) ;;
        *) ln -s busybox "$out/bin/$applet" ;;
    esac
done

# --- e2fsprogs
for program in mke2fs e2fsck tune2fs; do
    copy_program "$program"
done
ln -s mke2fs "$out/sbin/mkfs.ext4"
ln -s e2fsck "$out/sbin/fsck.ext4"

cat > "$out/etc/mke2fs.conf" <<'END'
# Debian's defaults for ext4, less metadata_csum: with it, tune2fs -U asks a question and waits for an answer.
# Small disks have the same layout as large ones.
[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,64bit,dir_nlink,extra_isize
	}
	floppy = {
		blocksize = 4096
	}
	small = {
		blocksize = 4096
	}
END
# An empty ext4 for cases of which mkfs is not the point (make_disk in lib.sh). The same bytes each time:
# mke2fs takes the last -E only, so all stands in one.
image=$(mktemp)
truncate -s 16M "$image"
MKE2FS_CONFIG=$out/etc/mke2fs.conf E2FSPROGS_FAKE_TIME=1600000000 mke2fs -q -F -t ext4 \
    -U 00000000-0000-4000-8000-000000000001 -N 512 \
    -E hash_seed=00000000-0000-4000-8000-000000000002,nodiscard,lazy_journal_init=1,lazy_itable_init=0 "$image"
"$out/sbin/kp-sparse" pack "$image" "$out/etc/ext4-16M.sparse"
rm -f "$image"

printf 'root:x:0:0:root:/root:/bin/sh\n' > "$out/etc/passwd"
printf 'root:x:0:\n' > "$out/etc/group"
ln -s ../proc/self/mounts "$out/etc/mtab"

say "  rootfs: $(du -sk "$out" | cut -f1) KiB, $(find "$out" | wc -l) entries"
