#!/bin/sh
# What the tree's own semantic patches (scripts/coccinelle) report of the module's folder.
#
#   SRC  one state of the source       FOLDER  the module's folder
#   OUT/coccicheck   "== STATUS SCRIPT", and what spatch printed, for each script; "none" if spatch or the scripts are missing
set -eu
export OBJ SRC FOLDER

scripts="$SRC/scripts/coccinelle"
if ! command -v spatch > /dev/null || [ ! -d "$scripts" ]; then
    echo none > "$OUT/coccicheck"
    exit 0
fi
cd "$SRC"
# As scripts/coccicheck does in its mode "report": scripts without that mode are left out, and their own options are used.
find scripts/coccinelle -name '*.cocci' | LC_ALL=C sort | while read -r script; do
    ! grep -q '^virtual.*\breport\b\|^virtual report' "$script" || echo "$script"
done > "$OBJ/scripts"
mkdir -p "$OBJ/parts"

# Several scripts at a time rather than jobs of one: for its own jobs spatch makes a folder in the source, which is read-only.
# shellcheck disable=SC2016
xargs -r -P "$JOBS" -n 1 sh -c '
    script=$1 status=0
    made=$OBJ/parts/$(echo "$script" | tr / _)
    options=$(sed -n "s,^// *Options: *,,p" "$script" | head -n 1)
    timeout 300 spatch -D report --very-quiet --no-show-diff --cocci-file "$script" $options \
        --include-headers -I "$SRC/include" --dir "$FOLDER" > "$made.said" 2> "$made.errors" < /dev/null || status=$?
    {
        echo "== $status $script"
        head -c 1000000 "$made.said"
        [ "$status" = 0 ] || head -c 2000 "$made.errors"
        echo
    } > "$made"
' sh < "$OBJ/scripts"
while read -r script; do
    cat "$OBJ/parts/$(echo "$script" | tr / _)"
done < "$OBJ/scripts" > "$OUT/coccicheck"
