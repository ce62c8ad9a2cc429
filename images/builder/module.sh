#!/bin/sh
# The module under test for one cell, against the kit of its base (base.sh): nothing of vmlinux is compiled again.
#
#   KIT  the kit, read-only        ASK/cell.config  the cell's final configuration        FOLDER  the module's folder
#   OUT  gets the modules named in $TARGETS, and cell.config as it really was
#   KEEP      optional: "yes" to leave in LEFT what other cells may take of this one
#   OBJECTS   optional: the objects that others left, read-only
#   SETTINGS  optional: what another build of the same configuration left
#   REMEMBER  optional: "yes" if what the Kconfig files run has the same result here as where the kit is from
#   PREPARED  optional: "yes" if all that `make prepare` makes is in the kit as it would be made here; with KEEP, all objects
#             are left in LEFT/own, for this configuration after an edit
#   ASK/symbols  optional: leave the objects that these symbols have no part in, one symbol a line
#   GIVEN     optional: objects with kbuild's records, as another build from the same files made them for its cell
#   SAME      optional: "yes" if it was of this configuration
set -eu

cp -a "$KIT/." "$OBJ/"
. "$RECIPE/wrapper.sh"
# The folder is compiled from nothing: kbuild would keep a generated file whose rule has no FORCE, and an object that
# reads a symbol by a name which a macro pastes together, as another configuration made it; and make trusts times.
rm -rf "${OBJ:?}/$FOLDER"
if [ -n "${GIVEN:-}" ]; then
    # By the records kbuild decides whether they still are as it would make them. They are newer than the tree and the
    # kit, and older than all that is made here.
    mkdir -p "$OBJ/$FOLDER"
    cp -R "$GIVEN/." "$OBJ/$FOLDER/"
    find "$OBJ/$FOLDER" -type f -exec touch -r "$ASK/cell.config" {} +
fi
cp "$ASK/cell.config" "$OBJ/.config"

if [ "${KEEP:-}" = yes ]; then
    mkdir "$LEFT/objects"
    [ -z "${OBJECTS:-}" ] || cp -a "$OBJECTS/." "$LEFT/objects/"
    . "$RECIPE/ccache.sh"
    # Newer than .config, so that Kconfig is not asked again.
    [ -z "${SETTINGS:-}" ] || cp -R "$SETTINGS/." "$OBJ/"
    # No symbol has changed since the objects were made: see base.sh.
    [ -z "${SAME:-}" ] || find "$OBJ/include/config" -type f -empty -delete
fi
# What make would have conf do first, with the answers that the compiler gave before: see configure.sh.
if [ "${REMEMBER:-}" = yes ] && [ -z "${SETTINGS:-}" ] && [ -e "$OBJ/.noted/arguments" ]; then (
    . "$OBJ/.noted/environment"
    unset NOTED KCONFIG_ALLCONFIG
    export KCONFIG_CONFIG=.config
    cd "$OBJ"
    scripts/kconfig/conf --syncconfig "$(tail -n 1 .noted/arguments)"
) fi
if [ -e "$ASK/symbols" ]; then
    # Every file that is compiled reads the configuration from here first: see cc.c.
    export POISON="$LEFT/poison"
    mkdir -p "$POISON/generated"
    {
        echo '#include_next <generated/autoconf.h>'
        sed 's/.*/#pragma GCC poison CONFIG_& CONFIG_&_MODULE/' "$ASK/symbols"
        # Whether a file is there can depend on the configuration.
        echo '#pragma GCC poison __has_include __has_include_next'
    } > "$POISON/generated/autoconf.h"
fi
# Else each make looks through the host tools and the headers of the architecture again, a third of what it takes.
make -C "$SRC" O="$OBJ" CC="$CC" ${PREPARED:+MAKE="make -o prepare"} -j"$JOBS" $TARGETS
for target in $TARGETS; do
    cp "$OBJ/$target" "$OUT/"
done
cp "$OBJ/.config" "$OUT/cell.config"

cd "$OBJ"
if [ "${KEEP:-}" = yes ]; then
    mkdir "$LEFT/settings"
    for folder in include arch/*/include/generated; do
        [ ! -d "$folder" ] || find "$folder" -type f -newer "$ASK/cell.config" -exec cp --parents -t "$LEFT/settings" {} +
    done
fi
# Leave the objects that are named in a file, with their records. Where more is made beside one than its record (of its
# exports, say), it would be missing then. Of one that is a module by itself, that is made anew.
leave() {
    find . ! -type d | awk '
        { folder = name = $0; sub(/[^\/]*$/, "", folder); name = substr(name, length(folder) + 1) }
        NR == FNR {
            hidden = sub(/^\./, "", name)
            if (name ~ /\.ko(\.cmd)?$/) next
            for (at = 1; at < length(name); at++) {
                if (substr(name, at, 1) != ".") continue
                rest = substr(name, at + 1)
                if (rest != (hidden ? "o.cmd" : "o") && rest !~ /^mod/) more[folder substr(name, 1, at - 1)]
            }
            next
        }
        { sub(/\.o$/, "", name) }
        !(("./" folder name) in more) { print folder name ".o"; print folder "." name ".o.cmd" }
    ' - "$1" | xargs -r -d '\n' cp -a --parents -t "$2"
}
if [ -n "${POISON:-}" ]; then
    mkdir -p "$LEFT/neutral" "$FOLDER"
    cd "$FOLDER"
    {
        sed "s,^$FOLDER/,," "$POISON/neutral" 2>/dev/null || :
        # What was taken, and is as it was.
        [ -z "${GIVEN:-}" ] || find . -name '*.o' -type f ! -newer "$ASK/cell.config" | sed 's,^\./,,'
    } > "$OBJ/.neutral"
    leave "$OBJ/.neutral" "$LEFT/neutral"
fi
if [ "${KEEP:-}" = yes ] && [ "${PREPARED:-}" = yes ]; then
    mkdir "$LEFT/own"
    cd "$OBJ/$FOLDER"
    # What is compiled, and not what is linked.
    grep -r -l -s '^source_' --include='.*.o.cmd' . | sed 's,^\./,,; s,\(^\|/\)\.\([^/]*\)\.cmd$,\1\2,; /\.mod\.o$/d' > "$OBJ/.own"
    leave "$OBJ/.own" "$LEFT/own"
fi
