#!/bin/sh
# A module that lives outside the tree, against a kit of ours (base.sh) or the headers of a distribution's kernel.
#
#   MODULE  its source, read-only           FOLDER  of the source, where its Kbuild or Makefile is: "." is the top
#   KIT     the kit, read-only              SRC     the kernel tree, if the kit is one of ours
#   ASK/arguments   of make, one a line; {kit} {obj} {release} stand for the kit, the module's folder, the kernel's release
#   ASK/environment of make, NAME=value, likewise
#   ASK/*.symvers   what other modules export
#   OBJ/module      becomes a copy of the source, in which the module is built
#   HEADERS         is /lib/modules in a container: a Makefile that is given a release finds the kit there
#
# Ends with status 3 if there is no $COMPILER, and with 4 if the kit's host tools do not run here. make has neither.
set -eu

if ! command -v "$COMPILER" > /dev/null; then
    echo "there is no $COMPILER here"
    exit 3
fi
for tool in scripts/basic/fixdep scripts/mod/modpost tools/objtool/objtool; do
    [ -e "$KIT/$tool" ] || continue
    status=0
    said=$("$KIT/$tool" 2>&1 < /dev/null) || status=$?
    case "$status $said" in
        12[67]\ * | *"not found (required by"* | *"error while loading shared libraries"* | *"Exec format error"*)
            echo "$said"
            exit 4
            ;;
    esac
done

mkdir "$OBJ/module"
tar -C "$MODULE" --exclude=.git -cf - . | tar -C "$OBJ/module" --no-same-owner -xf -
chmod -R u+rwX "$OBJ/module"
cd "$OBJ/module"
# What an earlier build left in the user's folder was made for another kernel.
find . -name '.*.cmd' -type f -exec sh -c '
    for record; do
        made=${record##*/.}
        rm -f "$record" "${record%/*}/${made%.cmd}"
    done' sh {} +
find . \( -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name Module.symvers -o -name modules.order -o -name '.tmp_*' \) \
    -prune -exec rm -rf {} +

# A folder of links to what the kit has.
link_kit() {
    kit=$OBJ/kit
    mkdir "$kit"
    ln -s "$KIT"/* "$KIT"/.[!.]* "$kit/"
}

kit=$KIT
if [ -n "${SRC:-}" ]; then
    # A kit of ours has a Makefile that names the folder in which the kit was made.
    link_kit
    rm "$kit/Makefile"
    # kbuild of 7.x takes only the folder that make was started in for a kernel's.
    printf 'export KBUILD_OUTPUT = %s\ninclude %s/Makefile\n' "$kit" "$SRC" > "$kit/Makefile"
    chmod a-w "$kit"
elif [ -e "$KIT/vmlinux" ] && ! command -v pahole > /dev/null; then
    # Headers of a later kernel in the image of a release that came with an older one. kbuild makes no BTF without
    # vmlinux; a module does not need any.
    link_kit
    rm "$kit/vmlinux"
    chmod a-w "$kit"
    echo "there is no pahole here: the module gets no BTF"
fi

release=$(cat "$KIT/include/config/kernel.release" 2> /dev/null) || release=
if [ -n "$release" ]; then
    mkdir "$HEADERS/$release"
    ln -s "$kit" "$HEADERS/$release/build"
    ln -s "$kit" "$HEADERS/$release/source"
    # What installs a module has to fail here too.
    chmod a-w "$HEADERS/$release" "$HEADERS"
fi

KBUILD_EXTRA_SYMBOLS=
for file in "$ASK"/*.symvers; do
    [ ! -e "$file" ] || KBUILD_EXTRA_SYMBOLS="$KBUILD_EXTRA_SYMBOLS $file"
done
export KBUILD_EXTRA_SYMBOLS

folder=$OBJ/module/$FOLDER
# A word with what stands for the kit, the module's folder and the kernel's release.
filled() {
    word=$1
    while :; do
        case $word in
            *"{kit}"*) word="${word%%"{kit}"*}$kit${word#*"{kit}"}" ;;
            *"{obj}"*) word="${word%%"{obj}"*}${folder%/.}${word#*"{obj}"}" ;;
            *"{release}"*) word="${word%%"{release}"*}$release${word#*"{release}"}" ;;
            *) break ;;
        esac
    done
}
set --
while IFS= read -r line; do
    filled "$line"
    set -- "$@" "$word"
done < "$ASK/environment"
set -- "$@" make -j"$JOBS" CC="$COMPILER"
while IFS= read -r line; do
    filled "$line"
    set -- "$@" "$word"
done < "$ASK/arguments"
# Makefiles take the variable PWD for their folder, which make -C does not set.
cd "$folder"
env "$@"
