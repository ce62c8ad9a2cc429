#!/bin/sh
# A layered setting: what is in force with each value of the module parameter and each mount option.
#
#   run.sh PARAMETER BASE STATE/OPTION...
#
# STATE is unset, load=VALUE or run=VALUE: the parameter as it is by default, given to insmod, or written at run
# time; OPTION is a mount option or none, BASE the options that every mount has ("default" for none). Each pair
# is one observation:
#
#   set=…     whether the parameter took the value: ok, or refused; - where it was not touched
#   reads=…   what it reads then
#   mount=…   what mount(2) answered
#   shown=…   the option's value in /proc/mounts
#   stored=…  the uuid that a copied-up file's origin holds: real, null, none
#   after=…   the second mount, in the same state with the same option, after the disk's UUID has changed
. "$KMODPIPE_LIB"

parameter=${1:?a parameter}
base=$(options "${2:?options of every mount}")
shift 2
module=$(basename "$KMODPIPE_MODULE" .ko)
file=/sys/module/$module/parameters/$parameter

# enter STATE: sets TAKEN and READS.
enter() {
    rmmod "$module" 2>/dev/null
    TAKEN=-
    case $1 in
        unset) must insmod "$KMODPIPE_MODULE" ;;
        load=*)
            TAKEN=ok
            insmod "$KMODPIPE_MODULE" "$parameter=${1#load=}" || TAKEN=refused
            ;;
        run=*)
            must insmod "$KMODPIPE_MODULE"
            TAKEN=ok
            printf '%s\n' "${1#run=}" > "$file" || TAKEN=refused
            ;;
        *) die "no such state: $1" ;;
    esac
    READS=-
    [ ! -e "$file" ] || READS=$(cat "$file")
}

# mount_pair NUMBER OPTION
mount_pair() {
    option=$2
    [ "$option" != none ] || option=
    at=$PWD/disk/$1
    try_mount overlay overlay "$PWD/merged" \
        "lowerdir=$PWD/disk/lower,upperdir=$at/upper,workdir=$at/work${base:+,$base}${option:+,$option}"
}

must mkdir disk merged
make_disk disk.img 32
mount_disk "$DISK" disk
must mkdir disk/lower
echo original > disk/lower/f
uuid=$(uuid_of "$DISK" | tr -d -)

number=0
state=
for pair; do
    number=$((number + 1))
    [ "$state" = "${pair%%/*}" ] || { state=${pair%%/*}; enter "$state"; }
    row="set=$TAKEN reads=$READS"
    if [ "$READS" != - ]; then
        must mkdir -p disk/$number/upper disk/$number/work
        mount_pair $number "${pair#*/}"
        row="$row mount=$MOUNT_RESULT"
        if [ "$MOUNT_RESULT" = mounted ]; then
            append first merged/f
            row="$row shown=$(shown_option "$PWD/merged" "$parameter")"
            must umount merged
            stored=$(kp-handle uuid disk/$number/upper/f)
            [ "$stored" != "$uuid" ] || stored=real
            row="$row stored=$stored"
        fi
    fi
    echo "$row" > row.$number
done
must umount disk
change_uuid "$DISK"
mount_disk "$DISK" disk
number=0
state=
for pair; do
    number=$((number + 1))
    row=$(cat row.$number)
    case $row in
        *' mount=mounted '*)
            [ "$state" = "${pair%%/*}" ] || { state=${pair%%/*}; enter "$state"; }
            mount_pair $number "${pair#*/}"
            row="$row after=$MOUNT_RESULT"
            [ "$MOUNT_RESULT" != mounted ] || must umount merged
            ;;
    esac
    observe "$pair" "$row"
done
must umount disk
must losetup -d "$DISK"
rmmod "$module" 2>/dev/null
must insmod "$KMODPIPE_MODULE"
observe outcome probed
