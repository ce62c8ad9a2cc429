#!/bin/sh -e
# What is sent is received.
counted() { cat /sys/class/net/echo0/statistics/"$1"; }
ip link set echo0 up
ip addr add 10.9.0.1/24 dev echo0
before=$(counted rx_packets)
ping -c 3 -W 1 10.9.0.2 >/dev/null 2>&1 || true
[ "$(counted rx_packets)" -ge $((before + 3)) ]
[ "$(counted rx_packets)" = "$(counted tx_packets)" ]
ip link set echo0 down
