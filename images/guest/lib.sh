# kmodpipe's shell functions for cases. Use:  . "$KMODPIPE_LIB"
#
# A case starts in an empty folder on a tmpfs, with a mount namespace of its own; whatever it leaves mounted
# or attached is taken away (and reported). Exit status: 0 done, 4 skip, anything else failed.
#
# What the kernel did is told through `observe`, the outcome last, when the whole sequence ran. A step that
# only prepares goes through `must`: if it fails there is no outcome, and the case can never look like a
# verdict.
#
# A process costs an emulated processor a millisecond, and the cases call these functions thousands of times: what the
# shell can do itself, it does.

# The file system of the cases' disks: a flavour of the matrix says another.
: "${KMODPIPE_FS:=ext4}"

# On a loop device over tmpfs, zeroing by fallocate is refused with a noisy kernel message; writing is not.
export UNIX_IO_NOZEROOUT=1

# observe KEY VALUE: one line of evidence; the key `outcome` is what the case is judged by.
observe() {
    case $2 in
        *[![:print:]]*) set -- "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')" ;;
    esac
    printf '%s\t%s\n' "$1" "$2" >&3
}

# die MESSAGE...: the case itself could not be carried out.
die() {
    printf '%s: %s\n' "${KMODPIPE_CASE:-case}" "$*" >&2
    exit 99
}

# skip REASON...: the case does not apply here.
skip() {
    printf '%s: skipped: %s\n' "${KMODPIPE_CASE:-case}" "$*" >&2
    exit 4
}

# must COMMAND...: a step that has to work. Not for pipelines, and not inside $(...), where exit ends only the
# substitution.
must() {
    "$@" || die "status $? from: $*"
}

# try_mount TYPE SOURCE TARGET [OPTIONS]: sets MOUNT_RESULT to "mounted" or to the errno's name (ESTALE ...).
try_mount() {
    MOUNT_RESULT=$(kp-mount "$@")
    case $?,$MOUNT_RESULT in
        0,mounted | 1,E?*) ;;
        *) die "kp-mount went wrong: $MOUNT_RESULT" ;;
    esac
    printf 'mount -t %s %s %s %s: %s\n' "$1" "$2" "$3" "${4-}" "$MOUNT_RESULT"
}

# mount_options TARGET: the options of /proc/mounts, without those that only name folders.
mount_options() {
    local target options word told= IFS=' '
    while read -r _ target _ options _; do
        [ "$target" = "$1" ] || continue
        IFS=,
        for word in $options; do
            case $word in
                lowerdir=* | upperdir=* | workdir=*) ;;
                *) told=${told:+$told,}$word ;;
            esac
        done
        printf '%s\n' "$told"
        return 0
    done < /proc/mounts
    return 1
}

# make_disk FILE MIB [mkfs]: a sparse file on a loop device with $KMODPIPE_FS in it; sets DISK to the device.
# MIB is what is asked for: xfs and btrfs get the 32 that they need (for xfs, two groups of 16), of which they
# fill 6 and 4.
make_disk() {
    grep -qw "$KMODPIPE_FS" /proc/filesystems || skip "this kernel has no $KMODPIPE_FS"
    mib=$2
    case $KMODPIPE_FS in
        xfs | btrfs) [ "$mib" -ge 32 ] || mib=32 ;;
    esac
    must truncate -s "${mib}M" "$1"
    DISK=$(losetup -f) || die "no free loop device"
    must losetup "$DISK" "$1"
    # An empty ext4 of this size was made with the guest; mkfs itself is for those who ask for it.
    if [ "$KMODPIPE_FS $mib ${3-}" = 'ext4 16 ' ]; then
        must kp-sparse unpack /etc/ext4-16M.sparse "$DISK" 1128
    else
        must make_fs "$DISK"
    fi
}

# make_fs DEVICE: quietly, and without writing the zeroes that a sparse file reads as already.
make_fs() {
    case $KMODPIPE_FS in
        # The few inodes are written, so that no kernel thread does it later.
        ext4) mkfs.ext4 -q -F -E nodiscard,lazy_journal_init=1,lazy_itable_init=0 -N 512 "$1" ;;
        # --unsupported: xfsprogs makes no file system below 300 MB for everyday use, and its log would take
        # 64 MiB. Off is what Linux 5.10 calls experimental, and older kernels do not mount.
        xfs) mkfs.xfs -q -f -K --unsupported -m bigtime=0,inobtcount=0 "$1" ;;
        # Data and metadata together, once: the layout that btrfs has for small disks.
        btrfs) mkfs.btrfs -q -f -K --mixed -d single -m single "$1" ;;
        *) die "lib.sh knows no file system $KMODPIPE_FS" ;;
    esac
}

# mount_disk DEVICE FOLDER
mount_disk() {
    case $KMODPIPE_FS in
        # Or xfs refuses a copy beside the original while they have one UUID; what overlayfs sees is the same.
        xfs) must mount -t xfs -o nouuid "$1" "$2" ;;
        *) must mount -t "$KMODPIPE_FS" "$1" "$2" ;;
    esac
}

# uuid_of DEVICE: the file system's UUID, which overlayfs sees, from the superblock.
uuid_of() {
    case $KMODPIPE_FS in
        ext4) set -- "$1" 1128 ;;
        xfs) set -- "$1" 32 ;;
        btrfs) set -- "$1" 65568 ;;
    esac
    # shellcheck disable=SC2046
    set -- $(od -An -v -tx1 -j"$2" -N16 "$1")
    [ $# = 16 ] && printf '%s%s%s%s-%s%s-%s%s-%s%s-%s%s%s%s%s%s\n' "$@"
}

# check_disk DEVICE: the file system's own check; returns 0 clean, 1 errors found and corrected, more: broken.
check_disk() {
    case $KMODPIPE_FS in
        ext4)
            e2fsck -f -y "$1"
            return
            ;;
        # These two correct nothing, and print a page when all is well.
        xfs) told=$(xfs_repair -n "$1" 2>&1) ;;
        btrfs) told=$(btrfs check "$1" 2>&1) ;;
    esac && return
    printf '%s\n' "$told"
    return 8
}

# change_uuid DEVICE: what somebody does who gives the copy of a disk a UUID of its own. Not while mounted.
change_uuid() {
    before=$(uuid_of "$1")
    check_disk "$1"
    status=$?
    # Corrected errors are evidence, not an obstacle.
    [ "$status" -le 1 ] || die "the check of $1: status $status"
    case $KMODPIPE_FS in
        ext4) must tune2fs -U random "$1" ;;
        # All that xfs_admin -U does, without the bash that it is written in.
        xfs) must xfs_db -x -p xfs_admin -c "uuid generate" "$1" ;;
        # Rewrites every block's header. With -m the blocks keep the old UUID; overlayfs sees the new one.
        btrfs) must btrfstune -f -u "$1" ;;
    esac
    after=$(uuid_of "$1")
    [ -n "$before" ] && [ "$before" != "$after" ] || die "the UUID is still $before"
    observe check "$status"
    observe uuid_before "$before"
    observe uuid_after "$after"
}

# twins: for a case that mounts a copy, its UUID kept, beside the original.
twins() {
    [ "$KMODPIPE_FS" != btrfs ] || skip "btrfs mounts no copy beside its original while they have one UUID"
}

# clear_uuid DEVICE: a file system without a UUID. No check after it: e2fsck gives it one.
clear_uuid() {
    case $KMODPIPE_FS in
        ext4) must tune2fs -U clear "$1" ;;
        xfs) must xfs_db -x -p xfs_admin -c "uuid nil" "$1" ;;
        *) skip "no $KMODPIPE_FS is without a UUID" ;;
    esac
    case $(uuid_of "$1") in
        *[!0-]*) die "the UUID is not cleared" ;;
    esac
}

# options WORD: the mount options that a case's argument stands for; "default" is none at all.
options() {
    [ "$1" = default ] || printf '%s' "$1"
}

# mount_overlay OPTIONS [LAYERS [TARGET [LOWER]]]: overlayfs on LAYERS/{lower,upper,work} (./disk) at TARGET
# (./merged); sets MOUNT_RESULT.
mount_overlay() {
    at=${2:-$PWD/disk}
    try_mount overlay overlay "${3:-$PWD/merged}" \
        "lowerdir=${4:-$at/lower},upperdir=$at/upper,workdir=$at/work${1:+,$1}"
}

# shown_option TARGET KEY: its value in /proc/mounts, "default" where it is not shown.
shown_option() {
    local word IFS=,
    for word in $(mount_options "$1"); do
        case $word in
            "$2"=*)
                printf '%s\n' "${word#*=}"
                return
                ;;
        esac
    done
    echo default
}

# index_entries [LAYERS]: how many inodes overlayfs has in its index; an unlinked one's whiteout does not count.
index_entries() {
    # shellcheck disable=SC2046
    set -- $(find "${1:-$PWD/disk}/work/index" -mindepth 1 ! -name '#*' 2>/dev/null)
    echo $#
}

# --- an overlay's content, and what became of it ------------------------------------------------------------
# h1 h2 h3 are one file in the lower layer; g stays there; r is moved.
CONTENT='h1 f g d/x moved/y'
INODES='h1 h2 h3 f g d d/x moved moved/y'

# make_layers FOLDER: a lower layer with something in it, an empty upper one and a work folder.
make_layers() {
    must mkdir -p "$1/lower" "$1/upper" "$1/work"
    fill_lower "$1/lower"
}

fill_lower() {
    local name
    must mkdir "$1/d" "$1/r"
    for name in h1 f g d/x r/y; do
        echo "original $name" > "$1/$name" || die "cannot write to $1"
    done
    must ln "$1/h1" "$1/h2"
    must ln "$1/h1" "$1/h3"
}

# append WORD FILE
append() {
    echo "$1" >> "$2" || die "cannot write to $2"
}

# use_overlay TARGET: what somebody does in an overlay: writes to one of three hard links, to a file, to one in
# a folder, and moves a folder.
use_overlay() {
    local name
    for name in h1 f d/x; do
        append first "$1/$name"
    done
    must mv "$1/r" "$1/moved"
}

# hardlinks TARGET: "shared" where h1, h2 and h3 are one file in content, inode number and link count.
hardlinks() {
    local name
    for name in h2 h3; do
        cmp -s "$1/h1" "$1/$name" || { echo split; return; }
    done
    # shellcheck disable=SC2046
    set -- $(stat -c '%h-%i' "$1/h1" "$1/h2" "$1/h3")
    case $# in
        3) [ "$1" = "$2" ] && [ "$1" = "$3" ] && [ "${1%-*}" = 3 ] && echo shared || echo split ;;
        *) echo split ;;
    esac
}

content_of() {
    # shellcheck disable=SC2086
    (cd "$1" && grep . $CONTENT)
}

inodes_of() {
    # shellcheck disable=SC2086
    (cd "$1" && stat -c '%n %i' $INODES)
}

# remember TARGET [NAME]: what is in an overlay, for `survey` to compare with after its next mount.
remember() {
    content_of "$1" > "${2:-was}.content" || die "cannot read what was written"
    inodes_of "$1" > "${2:-was}.inodes" || die "cannot stat what was written"
    hardlinks "$1" > "${2:-was}.hardlinks"
}

# origin_of FILE DEVICE: the UUID in the origin of a file that was copied up: "real" where it is the device's.
origin_of() {
    local stored
    stored=$(kp-handle uuid "$1")
    [ "$stored" != "$(uuid_of "$2" | tr -d -)" ] || stored=real
    printf '%s\n' "$stored"
}

# in_a_row WORD...: sets ROW to the words in one line.
in_a_row() {
    ROW=$*
}

# lines_of A BUT_NOT_IN_B: the names (first words, without a colon) of the lines that B does not have.
lines_of() {
    grep -vxFf "$2" "$1" | sed 's/[: ].*//' | sort -u | tr '\n' ' ' | sed 's/ $//'
}

# survey TARGET [NAME [LAYERS]]: compares with what was remembered and sets SURVEY to the worst that it finds:
#
#   content-lost      a file has another content, or is not there
#   hardlinks-split   links that were one file are not any more: a write through one is not seen by the others,
#                     one from before the remount included
#   inodes-changed    a file has another inode number than before
#   intact            nothing of these
survey() {
    local was=${2:-was} key=${2:+$2.} links before unchanged
    SURVEY=intact
    inodes_of "$1" > now.inodes 2>&1
    if cmp -s now.inodes "$was.inodes"; then
        observe "${key}inodes" kept
    else
        observe "${key}inodes" changed
        observe "${key}inodes_of" "$(lines_of "$was.inodes" now.inodes)"
        SURVEY=inodes-changed
    fi
    # Before the writes below change it.
    content_of "$1" > now.content 2>&1
    append second "$1/h3"
    links=$(hardlinks "$1")
    read -r before < "$was.hardlinks"
    [ "$links" = "$before" ] || SURVEY=hardlinks-split
    observe "${key}hardlinks_before" "$before"
    observe "${key}hardlinks" "$links"
    # A lower file's three names show the write through h1 as long as they are one file.
    unchanged=$(cd "$1" && grep -L first h1 h2 h3)
    # shellcheck disable=SC2086
    in_a_row $unchanged
    observe "${key}without_first_write" "$ROW"
    observe "${key}nlink" "$(stat -c %h "$1/h1")"
    observe "${key}index_entries" "$(index_entries "$3")"
    if cmp -s now.content "$was.content" && [ ! -e "$1/r" ]; then
        observe "${key}content" kept
    else
        observe "${key}content" "lost: $(lines_of "$was.content" now.content)"
        SURVEY=content-lost
    fi
}

# --- an overlay before and after ----------------------------------------------------------------------------
# disk_of_layers [cleared]: layers on a disk of their own, $DISK, mounted at ./disk; cleared: it has no UUID.
disk_of_layers() {
    must mkdir disk merged
    make_disk disk.img 16
    [ "${1-}" != cleared ] || clear_uuid "$DISK"
    mount_disk "$DISK" disk
    make_layers disk
}

# first_use OPTIONS [LAYERS]...: mounts as mount_overlay does, uses the overlay at ./merged and remembers what is
# in it. False where it was not mounted.
first_use() {
    mount_overlay "$@"
    [ "$MOUNT_RESULT" = mounted ] || return
    use_overlay merged
    remember merged
}

# mount_again OPTIONS keep|change|cleared: all is unmounted and mounted once more, what is to be changed being the
# disk's UUID; sets MOUNT_RESULT. What was cleared stays so.
mount_again() {
    must umount merged
    must umount disk
    case $2 in
        change) change_uuid "$DISK" ;;
        keep | cleared) ;;
        *) die "keep, change or cleared, not $2" ;;
    esac
    mount_disk "$DISK" disk
    mount_overlay "$1"
}
