#!/bin/sh
# A kit whose own objects are compiled with W=1 as well, once for each base: else each state would compile them anew,
# since their command lines differ. With genksyms, which only a configuration with versions of symbols has.
#
#   KIT  the kit of a base, read-only         OBJ  becomes this kit
set -eu

cp -a "$KIT/." "$OBJ/"
. "$BUILDER/wrapper.sh"
make -C "$SRC" O="$OBJ" CC="$CC" -j"$JOBS" W=1 cmd_checkdoc=: modules_prepare
# A tree without it has no versions to compare, which is said of each symbol.
make -C "$SRC" O="$OBJ" CC="$CC" -j"$JOBS" CONFIG_MODVERSIONS=y scripts || echo "there is no genksyms"
