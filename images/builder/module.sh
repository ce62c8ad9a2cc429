#!/bin/sh
# The module under test for one cell, against the kit of its base (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only        ASK/cell.config  the cell's final configuration        FOLDER  the module's folder
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
#   KEEP      optional: "yes" to leave in OBJ/.reuse what other cells may take of this one
#   OBJECTS   optional: the objects that others left, read-only
#   SETTINGS  optional: what another build of the same configuration left
set -eu
export PROBES="$OBJ/.probes"

cp -a "$KIT/." "$OBJ/"
# The folder is compiled from nothing: kbuild would keep a generated file whose rule has no FORCE, and an object that
# reads a symbol by a name which a macro pastes together, as another configuration made it; and make trusts times.
rm -rf "${OBJ:?}/$FOLDER"
cp "$ASK/cell.config" "$OBJ/.config"

if [ "${KEEP:-}" = yes ]; then
    left=$OBJ/.reuse
    mkdir -p "$left/objects"
    # ccache names an object by the arguments and the preprocessed text, which holds all that the compiler reads. It is not
    # to trust what it remembers of headers (its direct mode), and it dates what it uses.
    [ -z "${OBJECTS:-}" ] || cp -a "$OBJECTS/." "$left/objects/"
    export LAUNCHER=ccache CCACHE_REMOTE_STORAGE="file:$left/objects|layout=flat|update-mtime" CCACHE_REMOTE_ONLY=1
    export CCACHE_NODIRECT=1 CCACHE_DIR=/tmp/ccache CCACHE_CONFIGPATH=/dev/null CCACHE_NOSTATS=1
    export CCACHE_COMPILERCHECK=content
    # Newer than .config, so that Kconfig is not asked again.
    [ -z "${SETTINGS:-}" ] || cp -R "$SETTINGS/." "$OBJ/"
fi
make -C "$SRC" O="$OBJ" CC="$RECIPE/cc" -j"$JOBS" $TARGETS
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
cp "$OBJ/.config" "$OUT/cell.config"

if [ "${KEEP:-}" = yes ] && [ -z "${SETTINGS:-}" ]; then
    mkdir "$left/settings"
    cd "$OBJ"
    for folder in include arch/*/include/generated; do
        [ ! -d "$folder" ] || find "$folder" -type f -newer .config -exec cp --parents -t "$left/settings" {} +
    done
fi
