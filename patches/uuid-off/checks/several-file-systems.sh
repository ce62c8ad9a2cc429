#!/bin/sh
. "$KMODPIPE_LIB"
fails=0
bad() { echo "FAIL: $*"; fails=$((fails + 1)); }
eq() { [ "$2" = "$3" ] && echo "ok: $1: $2" || bad "$1: got '$2', want '$3'"; }
klog() { dmesg | grep -c "$1"; }
PARAM=/sys/module/overlay/parameters/uuid
# ovl DIR OPTS: overlay on DIR/{lower,upper,work} at ./merged
ovl() { try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD/$1/lower,upperdir=$PWD/$1/upper,workdir=$PWD/$1/work${2:+,$2}"; }
# uuids DIR: which uuids the names of index entries hold: "null", or the uuid
uuids() { ls "$1/work/index" | grep -v '^#' | cut -c11-42 | sed 's/^0\{32\}$/null/' | sort -u | tr '\n' ' ' | sed 's/ $//'; }
# disk_uuids IMG: uuids in all handles found on the raw disk image (origin and upper xattrs)
disk_uuids() { od -An -tx1 "$1" | tr -d ' \n*' | grep -o '00fb1d0[04]01.\{32\}' | cut -c11-42 | sed 's/^0\{32\}$/null/' | sort | uniq -c | sed 's/^ *//' | tr '\n' ';'; }
fill() { must mkdir -p $1/lower $1/upper $1/work; echo one > $1/lower/h1; ln $1/lower/h1 $1/lower/h2; ln $1/lower/h1 $1/lower/h3; echo f > $1/lower/f; mkdir $1/lower/d; echo x > $1/lower/d/x; }
one_file() { for n in h1 h2 h3; do cmp -s merged/h1 merged/$n || return 1; [ "$(stat -c %h-%i merged/$n)" = "3-$(stat -c %i merged/h1)" ] || return 1; done; }
finish() { [ $fails = 0 ] || { echo "$fails failed"; exit 1; }; echo all good; exit 0; }
must mkdir u l merged
make_disk u.img 8; UD=$DISK; must mount -t ext4 $UD u
make_disk l.img 8; LD=$DISK; must mount -t ext4 $LD l
W='The uuid=off requires a single fs for lower and upper, falling back to uuid=on.'
E='requires a single fs for lower and upper, found 2'
mnt() { try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD/l/$1,upperdir=$PWD/u/$1/upper,workdir=$PWD/u/$1/work${2:+,$2}"; }
prep() { must mkdir -p l/$1 u/$1/upper u/$1/work; echo one > l/$1/h1; ln l/$1/h1 l/$1/h2; ln l/$1/h1 l/$1/h3; }
kdef=$(cat $PARAM); idef=$(cat /sys/module/overlay/parameters/index)
for p in a b c x; do prep $p; done
for def in Y N; do echo $def > $PARAM
 for io in index=on index=off; do
  w=$(klog "$W"); e=$(klog "$E")
  mnt x $io,uuid=off; eq "explicit off, default $def $io" $MOUNT_RESULT EINVAL
  eq "no warning" $(klog "$W") $w; eq "error" $(klog "$E") $((e+1))
 done
 eq "nothing written" "$(ls u/x/work)$(ls u/x/upper)" "work"
 w=$(klog "$W"); mnt x index=on,uuid=on; eq "explicit on, default $def" $MOUNT_RESULT mounted; eq "no warning" $(klog "$W") $w; umount merged
 rm -r u/x/work/index u/x/upper; mkdir u/x/upper
done
echo N > $PARAM
for p in a b c; do w=$(klog "$W"); mnt $p index=on; eq "default off" $MOUNT_RESULT mounted; eq warned $(klog "$W") $((w+1))
 eq shown "$(mount_options $PWD/merged | tr ',' '\n' | grep uuid=)" uuid=on
 echo two >> merged/h1; one_file || bad split; umount merged; eq "real uuid" "$(uuids u/$p)" "$(uuid_of $LD | tr -d -)"; done
mnt a index=on; eq "again" $MOUNT_RESULT mounted; echo three >> merged/h3; one_file || bad split; umount merged
# non-upper
mkdir l/n1 l/n2 u/n3; echo 1 > l/n1/f
nu() { try_mount overlay overlay "$PWD/merged" "lowerdir=$1,$2"; }
for x in "" ",nfs_export=on,redirect_dir=nofollow"; do
w=$(klog "$W"); nu $PWD/l/n1:$PWD/l/n2 uuid=off$x; eq "non-upper, one fs $x" $MOUNT_RESULT mounted; eq shown "$(mount_options $PWD/merged | tr ',' '\n' | grep uuid=)" ""; umount merged
nu $PWD/l/n1:$PWD/l/n2 default_permissions$x; eq "non-upper, one fs, default" $MOUNT_RESULT mounted; umount merged; eq "no warning" $(klog "$W") $w
nu $PWD/l/n1:$PWD/u/n3 uuid=off$x; eq "non-upper, two fs $x" $MOUNT_RESULT EINVAL
nu $PWD/l/n1:$PWD/u/n3 default_permissions$x; eq "non-upper, two fs, default $x" $MOUNT_RESULT mounted; eq warned $(klog "$W") $((w+1)); umount merged
done
# conflicting uuid: a copy of the lower disk with the same uuid
must umount l; cp l.img l2.img; must mkdir l2; L2=$(losetup -f); losetup $L2 l2.img; must mount -t ext4 $LD l; must mount -t ext4 $L2 l2
prep2() { mkdir -p u/k/upper u/k/work; }; prep2; c=$(klog 'conflicting uuid detected')
try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD/l/n1:$PWD/l2/n2,upperdir=$PWD/u/k/upper,workdir=$PWD/u/k/work,index=on"; eq conflicting $MOUNT_RESULT mounted; eq "conflict told" $(klog 'conflicting uuid detected') $((c+1)); echo "options: $(mount_options $PWD/merged)"; umount merged
try_mount overlay overlay "$PWD/merged" "lowerdir=$PWD/l/n1:$PWD/l2/n2,upperdir=$PWD/u/k/upper,workdir=$PWD/u/k/work,index=on,uuid=off"; eq "conflicting, explicit" $MOUNT_RESULT EINVAL
umount l2; losetup -d $L2
# lower's uuid changes, then upper's
must umount l; change_uuid $LD; must mount -t ext4 $LD l
w=$(klog "$W"); k=$(klog 'failed to verify upper root origin'); mnt b index=on; eq "lower changed: E1" $MOUNT_RESULT ESTALE; eq warned $(klog "$W") $((w+1)); eq E1 $(klog 'failed to verify upper root origin') $((k+1))
mnt b index=on,uuid=off; eq "lower changed, explicit" $MOUNT_RESULT EINVAL
prep d; mnt d index=on; eq "d" $MOUNT_RESULT mounted; echo two >> merged/h1; umount merged
must umount u; change_uuid $UD; must mount -t ext4 $UD u
k=$(klog "failed to verify index dir 'upper' xattr"); mnt d index=on; eq "upper changed: E2" $MOUNT_RESULT ESTALE; eq E2 $(klog "failed to verify index dir 'upper' xattr") $((k+1))
mnt d index=on,uuid=off; eq "upper changed, explicit" $MOUNT_RESULT EINVAL
echo $kdef > $PARAM
finish
