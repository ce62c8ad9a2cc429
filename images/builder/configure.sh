#!/bin/sh
# What the tree's own Kconfig makes of each request: ASK/<n>.config -> OUT/<n>.config, laid over the base
# configuration $BASE. Whether each asked symbol survived is compared by the caller.
#
#   TOOLS     optional: host tools (conf, fixdep) built from the same sources;  OBJ  keeps the tools for others
#   REMEMBER  optional: "yes" if what the Kconfig files run has the same result for each request, here and where the TOOLS
#             are from: then conf is run without make, and asks once
set -eu

[ -z "${TOOLS:-}" ] || cp -a "$TOOLS/." "$OBJ/"
. "$RECIPE/wrapper.sh"

# tinyconfig is allnoconfig with the tree's own presets; with ours after them it takes one pass of conf
# instead of three, and a symbol that a request makes visible stays off instead of taking its default.
if [ "$BASE" = tinyconfig ]; then
    target=allnoconfig
    for preset in kernel/configs/tiny-base.config kernel/configs/tiny.config arch/x86/configs/tiny.config; do
        [ ! -e "$SRC/$preset" ] || cat "$SRC/$preset"
    done > "$OBJ/base.config"
else
    target=olddefconfig
    make -s -C "$SRC" O="$OBJ" CC="$CC" KCONFIG_CONFIG="$OBJ/base.config" "$BASE"
fi

prepare() {
    # Later lines win, as in merge_config.sh.
    cat "$OBJ/base.config" "$ASK/$1" > "$OBJ/$1.ask"
    if [ "$target" = olddefconfig ]; then
        cp "$OBJ/$1.ask" "$OUT/$1"
    fi
}

by_make() {
    prepare "$1"
    KCONFIG_ALLCONFIG="$OBJ/$1.ask" make -s -j"$JOBS" -C "$SRC" O="$OBJ" CC="$CC" KCONFIG_CONFIG="$OUT/$1" $target
    rm -f "$OUT/$1.old" "$OBJ/$1.ask"
}

# The first that goes by make, which builds conf, notes how it is called, and what it asks.
noting() (
    mkdir -p "$noted"
    gcc -O1 -shared -fPIC -o "$noted/remember.so" "$RECIPE/remember.c" -ldl
    export LD_PRELOAD="$noted/remember.so" REMEMBERED="$noted/answers" NOTED="$noted"
    by_make "$1"
)

# As make called conf: with the same environment and arguments, but for the files.
directly() (
    prepare "$1"
    . "$noted/environment"
    unset NOTED
    cd "$(cat "$noted/folder")"
    export KCONFIG_CONFIG="$OUT/$1" KCONFIG_ALLCONFIG="$OBJ/$1.ask"
    export LD_PRELOAD="$noted/remember.so" REMEMBERED="$noted/answers"
    scripts/kconfig/conf $(cat "$noted/arguments")
    rm -f "$OUT/$1.old" "$OBJ/$1.ask"
)

noted=$OBJ/.noted
first= running= number=0 again=

collect() {
    for one_of in $running; do
        wait "${one_of%%:*}" || again="$again ${one_of#*:}"
    done
    running= number=0
}

# The first alone, as it builds conf; then JOBS at once. All that go by make have one object folder, where later kernels
# (7.x) make a Makefile under a temporary name each time: one that fails beside others is tried again alone.
for ask in "$ASK"/*.config; do
    name=$(basename "$ask")
    one=by_make
    if [ "${REMEMBER:-}" = yes ]; then
        one=directly
        [ -e "$noted/arguments" ] || one=noting
    fi
    if [ -z "$first" ] && [ "$one" != directly ]; then
        first=$name
        $one "$name"
        continue
    fi
    [ "$one" != noting ] || one=by_make
    $one "$name" &
    running="$running $!:$name"
    number=$((number + 1))
    [ "$number" -lt "$JOBS" ] || collect
done
collect
for name in $again; do
    by_make "$name"
done
rm -f "$OBJ/base.config"
# As of a kit (base.sh): a thousand files that say when a symbol changed, which nothing here was compiled from.
if [ -d "$OBJ/include/config" ]; then
    find "$OBJ/include/config" -type f -empty -delete
    find "$OBJ/include/config" -depth -type d -empty -delete
fi
