#!/bin/sh
# One state of the module under test, for one cell, as the lists' bots compile it: W=1, and sparse on each source (C=1 on a
# folder that is compiled from nothing checks what C=2 does). Then what its objects are like.
#
#   KIT  the kit (prepare.sh), read-only       ASK/cell.config  the cell's final configuration     FOLDER  the module's folder
#   TARGETS  the modules under test            NEEDED  modules of other folders, whose symbols they use
#   OUT/sparse       for each source "== STATUS SOURCE", and what sparse printed; "none" if there is no sparse
#   OUT/symbols      nm of each module under test: "== MODULE", then ADDRESS SIZE TYPE NAME
#   OUT/stack        "STATUS", then what the tree's checkstack.pl printed; "none" if the tree has none
#   OUT/headers      "== SOURCE", and the headers that it was compiled with
#   OUT/crcs         "== STATUS SOURCE", and what genksyms printed of each source that exports symbols
set -eu
export SPARSE="$OBJ/.sparse"

cp -a "$KIT/." "$OBJ/"
. "$BUILDER/wrapper.sh"
rm -rf "${OBJ:?}/$FOLDER" "$SPARSE"
mkdir "$SPARSE"
cp "$ASK/cell.config" "$OBJ/.config"

check=
if command -v sparse > /dev/null; then
    check="C=1 CHECK=$RECIPE/sparse"
else
    echo none > "$OUT/sparse"
fi
# kernel-doc is run by text.sh, on headers too.
make -C "$SRC" O="$OBJ" CC="$CC" -j"$JOBS" W=1 $check cmd_checkdoc=: $TARGETS $NEEDED
cd "$OBJ"

if [ -n "$check" ]; then
    find "$SPARSE" -type f -size +0 | LC_ALL=C sort | while read -r file; do
        printf '== '
        cat "$file"
    done > "$OUT/sparse"
fi

for target in $TARGETS; do
    echo "== $target"
    nm -S "$target"
done > "$OUT/symbols"

if [ -f "$SRC/scripts/checkstack.pl" ]; then
    status=0
    for target in $TARGETS; do
        objdump -d "$target"
    done > .dump
    perl "$SRC/scripts/checkstack.pl" x86_64 0 < .dump > .stack 2>&1 || status=$?
    { echo "$status"; head -c 4000000 .stack; } > "$OUT/stack"
else
    echo none > "$OUT/stack"
fi

# Each .cmd file lists the source of an object, and the headers that it was compiled with.
find "$FOLDER" -name '.*.o.cmd' -type f -print0 | LC_ALL=C sort -z | xargs -0 -r awk '
    /^source_[^ ]* := / { print "== " $3 }
    /^deps_[^ ]* := / { deps = 1; next }
    deps && /^[ \t]+[^ \t$]/ { print $1 }
    /^$/ { deps = 0 }
' > "$OUT/headers"

# The version of an exported symbol is the CRC of its type (scripts/Makefile.build), whether or not this configuration
# has versions.
: > "$OUT/crcs"
grep -lr --include='*.o' __ksymtab_ "$FOLDER" 2>/dev/null | LC_ALL=C sort | while read -r object; do
    cmd="$(dirname "$object")/.$(basename "$object").cmd"
    [ -f "$cmd" ] || continue
    source=$(sed -n 's/^source_[^ ]* := //p' "$cmd" | head -n 1)
    case $source in *.c) ;; *) continue ;; esac
    line=$(sed -n 's/^\(saved\)*cmd_[^ ]* := //p' "$cmd" | head -n 1 | sed 's/ *;.*//; s/ -c -o [^ ]* / -E -D__GENKSYMS__ /')
    status=0
    { sh -c "$line" | scripts/genksyms/genksyms; } > .crcs 2> .crcs-errors || status=$?
    { echo "== $status $source"; cat .crcs .crcs-errors; } >> "$OUT/crcs"
done
