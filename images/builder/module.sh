#!/bin/sh
# The module under test for one cell, against a kit (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only: the base's, or what another cell of the same variant left in its OBJ
#   ASK/cell.config  the cell's final configuration        FOLDER  the module's folder
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
set -eu
export PROBES="$OBJ/.probes"

cp -a "$KIT/." "$OBJ/"
# Objects of the same source are gone on from: kbuild compiles again what a changed symbol reaches. Those of
# another source are worth nothing, and make would trust their times.
[ "$SAME_SOURCE" = yes ] || rm -rf "${OBJ:?}/$FOLDER"
cp "$ASK/cell.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" CC="$RECIPE/cc" -j"$JOBS" $TARGETS
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
cp "$OBJ/.config" "$OUT/cell.config"
