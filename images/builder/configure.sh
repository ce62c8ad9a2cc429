#!/bin/sh
# What the tree's own Kconfig makes of each request: ASK/<n>.config -> OUT/<n>.config, laid over the base
# configuration $BASE. Whether each asked symbol survived is compared by the caller.
#
#   TOOLS  optional: host tools (conf, fixdep) built from the same sources;  OBJ  keeps the tools for others
set -eu
export PROBES="$OBJ/.probes"

[ -z "${TOOLS:-}" ] || cp -a "$TOOLS/." "$OBJ/"

# tinyconfig is allnoconfig with the tree's own presets; with ours after them it takes one pass of conf
# instead of three, and a symbol that a request makes visible stays off instead of taking its default.
if [ "$BASE" = tinyconfig ]; then
    target=allnoconfig
    for preset in kernel/configs/tiny-base.config kernel/configs/tiny.config arch/x86/configs/tiny.config; do
        [ ! -e "$SRC/$preset" ] || cat "$SRC/$preset"
    done > "$OBJ/base.config"
else
    target=olddefconfig
    make -s -C "$SRC" O="$OBJ" CC="$RECIPE/cc" KCONFIG_CONFIG="$OBJ/base.config" "$BASE"
fi

one() {
    # Later lines win, as in merge_config.sh.
    cat "$OBJ/base.config" "$ASK/$1" > "$OBJ/$1.ask"
    if [ "$target" = olddefconfig ]; then
        cp "$OBJ/$1.ask" "$OUT/$1"
    fi
    KCONFIG_ALLCONFIG="$OBJ/$1.ask" make -s -j"$JOBS" -C "$SRC" O="$OBJ" CC="$RECIPE/cc" KCONFIG_CONFIG="$OUT/$1" $target
    rm -f "$OUT/$1.old" "$OBJ/$1.ask"
}

# The first alone: it builds conf. Then JOBS at once: conf spends its time asking the compiler what it can do. All
# have one object folder, where later kernels (7.x) make a Makefile under a temporary name each time: one that
# fails beside others is tried again alone.
first= running= number=0 again=

collect() {
    for one_of in $running; do
        wait "${one_of%%:*}" || again="$again ${one_of#*:}"
    done
    running= number=0
}

for ask in "$ASK"/*.config; do
    name=$(basename "$ask")
    if [ -z "$first" ]; then
        first=$name
        one "$name"
        continue
    fi
    one "$name" &
    running="$running $!:$name"
    number=$((number + 1))
    [ "$number" -lt "$JOBS" ] || collect
done
collect
for name in $again; do
    one "$name"
done
rm -f "$OBJ/base.config"
