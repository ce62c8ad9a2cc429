#!/bin/sh
# One cell's modules from nothing: no kit, no object of a base or of another cell, no remembered answers.
#
#   ASK/cell.config  the cell's final configuration       TARGETS  the modules
#   KIT              has the symbols that vmlinux exports; with WHOLE=yes vmlinux is compiled as well
set -eu
cp "$ASK/cell.config" "$OBJ/.config"
if [ "$WHOLE" = yes ]; then
    make -C "$SRC" O="$OBJ" -j"$JOBS" bzImage modules
    cp "$OBJ/vmlinux" "$OUT/"
else
    cp "$KIT/"*.symvers "$OBJ/"
    make -C "$SRC" O="$OBJ" -j"$JOBS" $TARGETS
fi
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
