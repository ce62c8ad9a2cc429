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
U=$(uuid_of $DISK | tr -d -)
n=0
kdef=$(cat $PARAM); echo "Kconfig default reads $kdef"; observe kdef $kdef
try() { # EXPECTED-PARAM OPT WHAT
  n=$((n+1)); d=disk/p$n; fill $d
  eq "param ($3)" "$(cat $PARAM)" $1
  case $2 in none) o=; eff=$([ $1 = Y ] && echo on || echo off) ;; *) o=,uuid=$2; eff=$2 ;; esac
  ovl $d index=on$o; eq "mount $3 opt=$2" $MOUNT_RESULT mounted
  echo 2 >> merged/h1
  m=$(mount_options $PWD/merged | tr ',' '\n' | grep uuid=)
  defw=$([ $1 = Y ] && echo on || echo off)
  [ $eff = $defw ] && w= || w=uuid=$eff
  eq "shown" "$m" "$w"
  # remount does not change it
  try_mount overlay overlay "$PWD/merged" "remount,uuid=on"; eq remount $MOUNT_RESULT mounted
  eq "shown after remount" "$(mount_options $PWD/merged | tr ',' '\n' | grep uuid=)" "$w"
  umount merged
  eq "on disk $3 opt=$2" "$(uuids $d)" $([ $eff = on ] && echo $U || echo null)
  rm -rf $d
}
for o in none on off; do try $kdef $o "unset"; done
for v in N:N Y:Y 0:N 1:Y off:N on:Y n:N y:Y; do
  echo ${v%:*} > $PARAM || bad "write $v"
  for o in none on off; do try ${v#*:} $o "runtime ${v%:*}"; done
done
for v in bogus 2 ''; do before=$(cat $PARAM); echo "$v" > $PARAM 2>/dev/null && bad "accepted '$v'"; eq "unchanged by '$v'" "$(cat $PARAM)" $before; done
for v in N:N Y:Y 0:N 1:Y off:N on:Y; do
  rmmod overlay; insmod $KMODPIPE_MODULE uuid=${v%:*} || bad "insmod $v"
  for o in none on off; do try ${v#*:} $o "load ${v%:*}"; done
done
rmmod overlay; insmod $KMODPIPE_MODULE uuid=bogus 2>/dev/null && bad "insmod bogus accepted"
insmod $KMODPIPE_MODULE; eq "default is back" "$(cat $PARAM)" $kdef
# last option wins; bad values
fill disk/q; ovl disk/q index=on,uuid=off,uuid=on; echo 2 >> merged/h1; umount merged; eq "last wins" "$(uuids disk/q)" $U
for v in uuid=bogus uuid uuid= uuid=null uuid=OFF; do ovl disk/q $v; eq "$v" $MOUNT_RESULT EINVAL; done
ovl disk/q index=off,nfs_export=on,uuid=off; eq "conflict" $MOUNT_RESULT EINVAL
# the module's parameter changed under a mount: shown relative to the new default, handles stay as they are
fill disk/s; echo N > $PARAM; ovl disk/s index=on; echo Y > $PARAM; echo 2 >> merged/h1
eq "shown after change of param" "$(mount_options $PWD/merged | tr ',' '\n' | grep uuid=)" uuid=off; umount merged; eq "null though" "$(uuids disk/s)" null
finish
