# CC: the compiler's wrapper (cc.c) as a program, which remembers its answers in the folder of objects. The tools and the kit
# have both.
export PROBES="$OBJ/.probes"
CC=$OBJ/.cc
if [ ! -x "$CC" ]; then
    gcc -O1 -static -o "$CC" "${BUILDER:-$RECIPE}/cc.c" 2>/dev/null || gcc -O1 -o "$CC" "${BUILDER:-$RECIPE}/cc.c"
fi
