# kmodpipe's shell functions for cases. Use:  . "$KMODPIPE_LIB"
#
# A case starts in an empty folder on a tmpfs, with a mount namespace of its own; whatever it leaves mounted
# or attached is taken away (and reported). Exit status: 0 done, 4 skip, anything else failed.
#
# What the kernel did is told through `observe`, the outcome last, when the whole sequence ran. A step that
# only prepares goes through `must`: if it fails there is no outcome, and the case can never look like a
# verdict.

# On a loop device over tmpfs, zeroing by fallocate is refused with a noisy kernel message; writing is not.
export UNIX_IO_NOZEROOUT=1

# observe KEY VALUE: one line of evidence; the key `outcome` is what the case is judged by.
observe() {
    printf '%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\n\t' '  ')" >&3
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
    while read -r _ target _ options _; do
        [ "$target" = "$1" ] || continue
        printf '%s\n' "$options" | tr ',' '\n' | grep -vE '^(lowerdir|upperdir|workdir)=' | tr '\n' ',' |
            sed 's/,$//'
        return 0
    done < /proc/mounts
    return 1
}

# make_disk FILE MIB: a sparse file on a loop device with ext4 in it; sets DISK to the device.
make_disk() {
    must truncate -s "$2M" "$1"
    DISK=$(losetup -f) || die "no free loop device"
    must losetup "$DISK" "$1"
    # A sparse file reads as zeroes already: nothing to discard, and no journal to fill with them. The few
    # inodes are written, so that no kernel thread does it later.
    must mkfs.ext4 -q -F -E nodiscard,lazy_journal_init=1,lazy_itable_init=0 -N 512 "$DISK"
}

# uuid_of DEVICE: the ext4 file system's UUID, from its superblock.
uuid_of() {
    od -An -v -tx1 -j1128 -N16 "$1" | tr -d ' \n' |
        sed 's/\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)/\1-\2-\3-\4-/'
}

# change_uuid DEVICE: what somebody does who gives the copy of a disk a UUID of its own. Not while mounted.
change_uuid() {
    before=$(uuid_of "$1")
    e2fsck -f -y "$1"
    status=$?
    # 1: errors were there and are corrected; that is evidence, not an obstacle.
    [ "$status" -le 1 ] || die "e2fsck: status $status"
    must tune2fs -U random "$1"
    after=$(uuid_of "$1")
    [ -n "$before" ] && [ "$before" != "$after" ] || die "the UUID is still $before"
    observe e2fsck "$status"
    observe uuid_before "$before"
    observe uuid_after "$after"
}

# mount_overlay [OPTION]: overlayfs on ./disk/{lower,upper,work} at ./merged; sets MOUNT_RESULT.
mount_overlay() {
    at=$PWD/disk
    try_mount overlay overlay "$PWD/merged" \
        "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work${1:+,$1}"
}

# index_entries: how many inodes overlayfs has in the index of ./disk.
index_entries() {
    find disk/work/index -mindepth 1 2>/dev/null | wc -l
}
