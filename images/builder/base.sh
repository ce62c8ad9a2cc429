#!/bin/sh
# The kernel base, once: vmlinux, its modules, and a kit to build further modules against it.
#
#   ASK/base.config            the final configuration
#   TOOLS                      optional: host tools built from the same sources (configure.sh)
#   OUT/bzImage vmlinux System.map base.config
#   OBJ                        becomes the kit: the object folder without what only vmlinux needed
set -eu
export PROBES="$OBJ/.probes"

[ -z "${TOOLS:-}" ] || cp -a "$TOOLS/." "$OBJ/"
cp "$ASK/base.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" CC="$RECIPE/cc" -j"$JOBS" bzImage modules

cp "$OBJ/arch/x86/boot/bzImage" "$OBJ/vmlinux" "$OBJ/System.map" "$OUT/"
cp "$OBJ/.config" "$OUT/base.config"

# Kept: configuration, generated headers, host tools, Module.symvers, and the objects of modules, from which a
# cell of the same source goes on (module.sh).
cd "$OBJ"
[ -e Module.symvers ] || cp vmlinux.symvers Module.symvers
set -- -path ./scripts -o -path ./tools -o -path './arch/*/tools'
for folder in $(sed 's|/[^/]*$||' modules.order | sort -u); do
    set -- "$@" -o -path "./$folder"
done
find . \( "$@" \) -prune -o -type f \( -name '*.o' -o -name '*.a' -o -name '.*.o.cmd' -o -name '.*.a.cmd' \) \
    -exec rm -f {} +
rm -rf vmlinux .tmp_vmlinux* .vmlinux* System.map arch/x86/boot arch/x86/realmode/rm usr
# A folder of the source tree that is empty now: each cell's copy would make it again, and kbuild does.
find . -depth -mindepth 1 -type d -empty -exec rmdir {} +
