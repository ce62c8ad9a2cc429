#!/bin/sh
# The kernel base, once: vmlinux, its modules, and a kit to build further modules against it.
#
#   ASK/base.config            the final configuration
#   TOOLS                      optional: host tools built from the same sources (configure.sh)
#   OUT/bzImage vmlinux System.map base.config
#   OUT/symbols-read files-read   what vmlinux was compiled from, as fixdep recorded it, one a line
#   OUT/modules                the modules that this configuration has: "PATH.ko NEEDED,…", what has to be loaded before
#   KIT                        gets the kit: what modules_prepare makes, and the exported symbols
#   KEEP                       optional: "yes" to leave in LEFT/objects what builds of modules may take of those made here
set -eu

[ -z "${TOOLS:-}" ] || cp -a "$TOOLS/." "$OBJ/"
. "$RECIPE/wrapper.sh"
cp "$ASK/base.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" CC="$CC" -j"$JOBS" modules_prepare
cd "$OBJ"
find . ! -type d -print0 | LC_ALL=C sort -z > .prepared
if [ "${KEEP:-}" = yes ]; then
    mkdir "$LEFT/objects"
    . "$RECIPE/ccache.sh"
    # Nothing of vmlinux is compiled again.
    export LAUNCHED=-DMODULE
fi
# What was just prepared is not looked through again by each make.
make -C "$SRC" O="$OBJ" CC="$CC" MAKE="make -o prepare" -j"$JOBS" bzImage modules

cp "$OBJ/arch/x86/boot/bzImage" "$OBJ/vmlinux" "$OBJ/System.map" "$OUT/"
cp "$OBJ/.config" "$OUT/base.config"

# Each .cmd file lists the symbols (include/config/…) and the files that one object depends on. Objects of modules
# are no part of vmlinux; host programs are counted, since some of them generate sources of vmlinux, but those of
# tools/, which read their own headers.
find . -path ./tools -prune -o -name '.*.cmd' -type f -print0 | xargs -0 -r awk '
    FNR == 1 { of_module = / -DMODULE( |$)/ }
    of_module { next }
    match($0, /\$\(wildcard include\/config\/[^)]*\)/) {
        name = substr($0, RSTART + 26, RLENGTH - 27)
        sub(/\.h$/, "", name)
        gsub(/\//, "_", name)
        print "symbol " toupper(name)
        next
    }
    /^source_[^ ]* := / { print "file " $3 }
    /^[ \t]+[^ \t$]/ { print "file " $1 }
' | LC_ALL=C sort -u > .reads
sed -n 's/^symbol //p' .reads > "$OUT/symbols-read"
# By its name and, where a link leads to it, by its real name, relative to the tree or the object folder.
sed -n 's/^file //p' .reads | { cat; sed -n 's/^file //p' .reads | xargs -r -d '\n' realpath -m; } |
    awk -v src="$SRC/" -v real="$(realpath "$SRC")/" -v obj="$(realpath "$OBJ")/" '
        index($0, src) == 1 { print substr($0, length(src) + 1); next }
        index($0, real) == 1 { print substr($0, length(real) + 1); next }
        index($0, obj) == 1 { print substr($0, length(obj) + 1); next }
        !/^\// { print }
    ' | LC_ALL=C sort -u > "$OUT/files-read"

# Older kernels write kernel/PATH.ko to modules.order, later ones PATH.ko, then PATH.o.
: > "$OUT/modules"
if [ -e modules.order ]; then
    sed 's,^kernel/,,; s/\.o$/.ko/' modules.order | LC_ALL=C sort -u | while read -r module; do
        [ -f "./$module" ] || continue
        objcopy -O binary --only-section=.modinfo "./$module" .modinfo
        # "depends=a,b" and "softdep=pre: c d post: e" (modinfo(8))
        needs=$(tr '\0' '\n' < .modinfo | sed -n 's/^depends=//p; /^softdep=.*pre:/{ s/.*pre: *//; s/ *post:.*//; p; }' |
            tr -s ' \n' ',')
        echo "$module $needs"
    done > "$OUT/modules"
fi

# Later kernels' modpost reads what vmlinux exports from vmlinux.o, whenever a module of the tree is made alone
# (scripts/Makefile.modpost). Without it 6.1 lets a call to a function pass that nobody exports, and for 6.12 no symbol
# is exported at all.
objects=
if [ -e vmlinux.o ] && grep -q 'wildcard vmlinux\.o' "$SRC/scripts/Makefile.modpost"; then
    strip --strip-debug vmlinux.o
    objects=vmlinux.o
fi

# Nothing is kept that a rule of a module's folder made, neither objects nor generated files: each cell makes its
# own (module.sh), so that it does not depend on the configuration of the base, and none on another's.
[ -e Module.symvers ] || cp vmlinux.symvers Module.symvers
find . ! -type d ! -name '*.symvers' ! -path "./${objects:-.}" -print0 | LC_ALL=C sort -z | LC_ALL=C comm -z -13 .prepared - | xargs -0 -r rm -f
rm -f .prepared .reads .modinfo
# A thousand empty files say when a symbol changed last (fixdep). None has changed since the kit was made, and make takes
# one that is not there for that.
find . -path './include/config/*' -type f -empty -delete
# A folder of the source tree that is empty now: each cell's copy would make it again, and kbuild does.
find . -depth -mindepth 1 -type d -empty -delete
cp -a . "$KIT/"
