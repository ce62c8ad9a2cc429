#!/bin/sh
# A value that a module parameter does not have, written at run time: what the writer is told.
#
#   write.sh NAME VALUE
. "$KMODPIPE_LIB"

file=/sys/module/$(basename "$KMODPIPE_MODULE" .ko)/parameters/${1:?a parameter}
before=$(cat "$file")
told=$( (echo "${2:?a value}" > "$file") 2>&1 )
status=$?
echo "$told"
observe kept "$([ "$(cat "$file")" = "$before" ] && echo yes || echo no)"
case $status,$told in
    0,*) result=accepted ;;
    *"Invalid argument") result=EINVAL ;;
    *) result=refused ;;
esac
observe outcome "$result"
