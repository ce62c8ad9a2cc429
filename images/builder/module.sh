#!/bin/sh
# The module under test for one cell, against the kit of its base (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only        ASK/cell.config  the cell's final configuration        FOLDER  the module's folder
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
#   SEED            optional: objects that another cell of the same source and base kept, read-only
#   KEEP_OBJECTS    optional: "yes" to leave the objects of this cell for others in OBJ/.objects
set -eu
export PROBES="$OBJ/.probes"

# Cells differ in what they configure, and most of a module's files read none of it. ccache names an object by the
# arguments and the preprocessed text, which holds all that the compiler reads; it is not to trust what it remembers
# of headers, their dates and their macros (its direct mode).
objects=
[ -z "${SEED:-}" ] || objects="file:$SEED|layout=flat|read-only"
[ "${KEEP_OBJECTS:-}" != yes ] || objects="file:$OBJ/.objects|layout=flat"
if [ -n "$objects" ]; then
    export LAUNCHER=ccache CCACHE_REMOTE_STORAGE="$objects" CCACHE_REMOTE_ONLY=1 CCACHE_NODIRECT=1
    export CCACHE_DIR=/tmp/ccache CCACHE_CONFIGPATH=/dev/null CCACHE_NOSTATS=1 CCACHE_COMPILERCHECK=content
fi

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
