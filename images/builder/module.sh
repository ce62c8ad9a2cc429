#!/bin/sh
# The module under test for one cell, against a kit (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only      ASK/cell.config  the cell's final configuration
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
set -eu

cp -a "$KIT/." "$OBJ/"
cp "$ASK/cell.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" -j"$JOBS" $TARGETS
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
cp "$OBJ/.config" "$OUT/cell.config"
