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
must mkdir disk merged
make_disk disk.img 16
must mount -t ext4 "$DISK" disk
# rows: name|first|second|after change|result|/proc/mounts
def=$(cat $PARAM); idef=$(cat /sys/module/overlay/parameters/index)
rows="on.on.keep on.off.keep off.on.keep off.off.keep on.on.change on.off.change off.on.change off.off.change"
i=0
# every overlay is used on the same disk before the one change; all "keep" rows are checked before it
for f in on off; do for s in on off; do for w in keep change; do
  d=disk/r.$f.$s.$w; fill $d
  ovl $d index=on,uuid=$f; eq "first $f" $MOUNT_RESULT mounted
  echo two >> merged/h1; echo g >> merged/f; echo y >> merged/d/x; one_file || bad "one file before"
  stat -c %i merged/f merged/d merged/h1 > $d.ino
  umount merged
done; done; done
# without index first
fill disk/noidx; ovl disk/noidx index=off,uuid=off; echo g >> merged/f; stat -c %i merged/f > noidx.ino; umount merged
fill disk/noidxon; ovl disk/noidxon index=off,uuid=on; echo g >> merged/f; umount merged
check() { # FIRST SECOND WHEN
  d=disk/r.$1.$2.$3
  want=mounted; [ $1 = $2 ] || want=ESTALE; [ $1.$2.$3 = on.on.change ] && want=ESTALE
  before=$(klog 'failed to verify upper root origin')
  ovl $d index=on,uuid=$2; eq "index=on,uuid=$1 -> $3 -> index=on,uuid=$2" $MOUNT_RESULT $want
  if [ $MOUNT_RESULT = mounted ]; then
    o=$(mount_options $PWD/merged); w=rw,relatime
    [ $idef = N ] && w=$w,index=on
    [ $def = Y ] && [ $2 = off ] && w=$w,uuid=off
    [ $def = N ] && [ $2 = on ] && w=$w,uuid=on
    eq options "$o" "$w"
    echo three >> merged/h3; one_file || bad "hardlinks split: $1 $2 $3"
    eq content "$(cat merged/h2 | tr '\n' ' ')" "one two three "
    eq st_ino "$(stat -c %i merged/f merged/d merged/h1 | tr '\n' ' ')" "$(cat $d.ino | tr '\n' ' ')"
    eq entries "$(ls $d/work/index | wc -l)" 1
    [ $2 = off ] && eq "name" "$(uuids $d)" null
    rm merged/h1 merged/h2 merged/h3; eq "index cleaned" "$(ls $d/work/index | grep -vc "^#")" 0
    umount merged
  else
    eq E1 $(($(klog 'failed to verify upper root origin') - before)) 1
  fi
}
for f in on off; do for s in on off; do check $f $s keep; done; done
must umount disk
change_uuid "$DISK"
must mount -t ext4 "$DISK" disk
for f in on off; do for s in on off; do check $f $s change; done; done
ovl disk/noidx index=on,uuid=off; eq "uuid=off, index off -> change -> index=on,uuid=off" $MOUNT_RESULT mounted
eq "origin followed" "$(stat -c %i merged/f)" "$(cat noidx.ino)"; umount merged
ovl disk/noidxon index=on,uuid=off; eq "uuid=on, index off -> change -> index=on,uuid=off" $MOUNT_RESULT mounted; umount merged
ovl disk/r.on.on.change index=off; eq "on->off" $MOUNT_RESULT mounted; umount merged
must umount disk
# what is on the disk, in a fresh one
make_disk d2.img 8; must mount -t ext4 "$DISK" disk
u=$(uuid_of $DISK | tr -d -)
fill disk/z; ovl disk/z index=on,nfs_export=on,uuid=off; echo g >> merged/f; echo h >> merged/h1; echo y >> merged/d/x; umount merged
must umount disk; sync; echo "handles, uuid=off: $(disk_uuids d2.img)"
disk_uuids d2.img | grep -q "$u" && bad "real uuid on disk"
disk_uuids d2.img | grep -q null || bad "no null handle on disk"
change_uuid $DISK; must mount -t ext4 "$DISK" disk; 
w0=$(dmesg | grep overlayfs: | wc -l)
ovl disk/z index=on,nfs_export=on,uuid=off; eq "nfs_export after change" $MOUNT_RESULT mounted
eq "index entries kept" "$(ls disk/z/work/index | wc -l)" 4
find merged > /dev/null; cat merged/d/x > /dev/null; echo z >> merged/h2; one_file || bad "nfs_export split"
eq "no complaint" "$(dmesg | grep overlayfs: | tail -n +$((w0 + 1)))" ""
umount merged; umount disk
make_disk d3.img 8; must mount -t ext4 "$DISK" disk; u=$(uuid_of $DISK | tr -d -)
fill disk/z; ovl disk/z index=on,uuid=on; echo g >> merged/f; echo h >> merged/h1; umount merged; eq "uuid=on name" "$(uuids disk/z)" "$u"
must umount disk; sync; echo "handles, uuid=on: $(disk_uuids d3.img)"
disk_uuids d3.img | grep -q null && bad "null with uuid=on"
# a file system without uuid: both settings make the same handles
make_disk d4.img 8; must tune2fs -U clear "$DISK"; must mkdir t; must mount -t ext4 "$DISK" t; fill t
eq "cleared" "$(uuid_of $DISK)" 00000000-0000-0000-0000-000000000000
ovl t index=on,uuid=on; eq "null fs on" $MOUNT_RESULT mounted; echo 2 >> merged/h1; umount merged
ovl t index=on,uuid=off; eq "null fs off" $MOUNT_RESULT mounted; echo 3 >> merged/h3; one_file || bad "null fs split"; umount merged
ovl t index=on,uuid=on; eq "null fs on again" $MOUNT_RESULT mounted; one_file || bad "null fs split"; umount merged
eq "one entry" "$(ls t/work/index | wc -l)" 1; umount t
# tmpfs: a random uuid for every mount of it
must mount -t tmpfs none t; fill t; ovl t index=on,uuid=on; eq "tmpfs on" $MOUNT_RESULT mounted; umount merged; ovl t index=on,uuid=off; eq "tmpfs off after on" $MOUNT_RESULT ESTALE; umount t
finish
