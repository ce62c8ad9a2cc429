#!/bin/sh
# A module parameter at load time, and how it reads afterwards.
#
#   run.sh NAME VALUE
. "$KMODPIPE_LIB"

name=${1:?a parameter}
module=$(basename "$KMODPIPE_MODULE" .ko)
must rmmod "$module"
if insmod "$KMODPIPE_MODULE" "$name=${2:?a value}"; then
    observe reads "$(cat "/sys/module/$module/parameters/$name")"
    result=accepted
    must rmmod "$module"
else
    result=refused
fi
must insmod "$KMODPIPE_MODULE"
observe outcome "$result"
