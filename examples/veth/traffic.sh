#!/bin/sh -e
# needs: unshare nsenter ping nc CONFIG_VETH CONFIG_NET_NS
# Two ends of a pair, each in a network namespace: packets of every size, a stream, and what the counters say of them.
. "$KMODPIPE_LIB"

ip link set lo up
unshare -n sleep 300 &
peer=$!
there() { nsenter -t $peer -n "$@"; }
trap 'kill $peer' EXIT
# The process has its namespace once it sleeps.
while [ "$(readlink /proc/$peer/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done

ip link add ours type veth
theirs=$(ip -o link | sed -n 's/.*\(veth[0-9]*\)@ours.*/\1/p')
[ -n "$theirs" ]
ip link set "$theirs" netns $peer
ip addr add 192.0.2.1/24 dev ours
ip link set ours up
there ip addr add 192.0.2.2/24 dev "$theirs"
there ip link set "$theirs" up
[ "$(cat /sys/class/net/ours/carrier)" = 1 ]

for size in 0 56 1472 8000; do
    ping -A -c 3 -W 5 -s $size 192.0.2.2 > told || { cat told; exit 1; }
    grep ' 3 packets received' told
done

head -c 1024k /dev/urandom > sent
mkfifo nothing                          # or the server ends its side at once, and the client goes
there nc -l -p 7 < nothing > received &
server=$!
exec 7> nothing
for _ in $(seq 50); do
    there netstat -ltn | grep -q ':7 ' && break
    sleep 0.1
done
nc 192.0.2.2 7 < sent
wait $server
exec 7>&-
cmp sent received
out=$(cat /sys/class/net/ours/statistics/tx_bytes)
in=$(there sed -n "s/^ *$theirs: *\([0-9]*\).*/\1/p" /proc/net/dev)
echo "$out bytes out, $in bytes in"
[ "$out" -gt 1048576 ] && [ "$in" = "$out" ]

# One end goes, and so does the other; the carrier went before.
there ip link set "$theirs" down
[ "$(cat /sys/class/net/ours/carrier)" = 0 ]
ip link del ours
if there ip link show "$theirs" 2>/dev/null; then exit 1; fi
