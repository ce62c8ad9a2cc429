#!/bin/sh -e
# The parameter is what the file shows, at first and once it is changed.
[ "$(cat /proc/hello)" = 42 ]
echo 7 > /sys/module/hello/parameters/answer
[ "$(cat /proc/hello)" = 7 ]
