#!/bin/sh
# The kernel base, once: vmlinux, its modules, and a kit to build further modules against it.
#
#   ASK/base.config            the final configuration
#   OUT/bzImage vmlinux System.map base.config
#   OBJ                        becomes the kit: the object folder without what only vmlinux needed
set -eu

cp "$ASK/base.config" "$OBJ/.config"
make -C "$SRC" O="$OBJ" -j"$JOBS" bzImage modules

cp "$OBJ/arch/x86/boot/bzImage" "$OBJ/vmlinux" "$OBJ/System.map" "$OUT/"
cp "$OBJ/.config" "$OUT/base.config"

# Kept: configuration, generated headers, host tools, Module.symvers. The module under test goes too: each
# cell compiles its own.
cd "$OBJ"
[ -e Module.symvers ] || cp vmlinux.symvers Module.symvers
find . -path ./scripts -prune -o -path ./tools -prune -o -path './arch/*/tools' -prune -o -type f \
    \( -name '*.o' -o -name '*.a' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.o.cmd' \
       -o -name '.*.a.cmd' -o -name '.*.ko.cmd' -o -name '.*.mod.cmd' \) -exec rm -f {} +
rm -rf vmlinux .tmp_vmlinux* .vmlinux* System.map arch/x86/boot arch/x86/realmode/rm usr
