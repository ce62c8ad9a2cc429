#!/bin/sh
# The module under test for one cell, against the kit of its base (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only        ASK/cell.config  the cell's final configuration        FOLDER  the module's folder
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
set -eu
export PROBES="$OBJ/.probes"

cp -a "$KIT/." "$OBJ/"
# The folder is compiled from nothing: kbuild would keep a generated file whose rule has no FORCE, and an object that
# reads a symbol by a name which a macro pastes together, as another configuration made it; and make trusts times.
rm -rf "${OBJ:?}/$FOLDER"
cp "$ASK/cell.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" CC="$RECIPE/cc" -j"$JOBS" $TARGETS
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
cp "$OBJ/.config" "$OUT/cell.config"
