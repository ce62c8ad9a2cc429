#!/bin/sh
# What the tree's own Kconfig makes of each request: ASK/<n>.config -> OUT/<n>.config, laid over the base
# configuration $BASE. Whether each asked symbol survived is compared by the caller.
#
#   TOOLS     optional: host tools (conf, fixdep) built from the same sources;  OBJ  keeps the tools for others
#   REMEMBER  optional: "yes" if what the Kconfig files run has the same result for each request
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

prepare() {
    # Later lines win, as in merge_config.sh.
    cat "$OBJ/base.config" "$ASK/$1" > "$OBJ/$1.ask"
    if [ "$target" = olddefconfig ]; then
        cp "$OBJ/$1.ask" "$OUT/$1"
    fi
}

by_make() {
    prepare "$1"
    KCONFIG_ALLCONFIG="$OBJ/$1.ask" make -s -j"$JOBS" -C "$SRC" O="$OBJ" CC="$RECIPE/cc" KCONFIG_CONFIG="$OUT/$1" $target
    rm -f "$OUT/$1.old" "$OBJ/$1.ask"
}

# As by make, which was noted: with the same environment and arguments, but for the files.
directly() (
    prepare "$1"
    . "$noted/environment"
    cd "$(cat "$noted/folder")"
    export KCONFIG_CONFIG="$OUT/$1" KCONFIG_ALLCONFIG="$OBJ/$1.ask"
    export LD_PRELOAD="$noted/remember.so" REMEMBERED="$noted/answers"
    "$conf" $(cat "$noted/arguments")
    rm -f "$OUT/$1.old" "$OBJ/$1.ask"
)

note() {
    mkdir "$noted"
    gcc -O1 -shared -fPIC -o "$noted/remember.so" "$RECIPE/remember.c" -ldl
    mv "$conf" "$noted/conf"
    {
        echo '#!/bin/sh'
        echo "export -p > '$noted/environment'"
        echo "pwd > '$noted/folder'"
        echo "echo \"\$*\" > '$noted/arguments'"
        echo "LD_PRELOAD='$noted/remember.so' REMEMBERED='$noted/answers' exec '$noted/conf' \"\$@\""
    } > "$conf"
    chmod +x "$conf"
    by_make "$1"
    mv "$noted/conf" "$conf"
}

conf=$OBJ/scripts/kconfig/conf noted=$OBJ/.noted
first= running= number=0 again=
one=by_make

collect() {
    for one_of in $running; do
        wait "${one_of%%:*}" || again="$again ${one_of#*:}"
    done
    running= number=0
}

# The first alone: it builds conf. The second alone too, if what Kconfig asks the compiler may be remembered for the
# others. Then JOBS at once. All that go by make have one object folder, where later kernels (7.x) make a Makefile
# under a temporary name each time: one that fails beside others is tried again alone.
for ask in "$ASK"/*.config; do
    name=$(basename "$ask")
    if [ -z "$first" ]; then
        first=$name
        by_make "$name"
        continue
    fi
    if [ "${REMEMBER:-}" = yes ] && [ ! -e "$noted" ] && [ -x "$conf" ]; then
        note "$name"
        one=directly
        continue
    fi
    $one "$name" &
    running="$running $!:$name"
    number=$((number + 1))
    [ "$number" -lt "$JOBS" ] || collect
done
collect
for name in $again; do
    by_make "$name"
done
rm -rf "$OBJ/base.config" "$noted"
