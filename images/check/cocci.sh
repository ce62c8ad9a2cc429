#!/bin/sh
# What the tree's own semantic patches (scripts/coccinelle) report of the module's folder.
#
#   SRC  one state of the source       FOLDER  the module's folder
#   OUT/coccicheck   "== STATUS SCRIPT", and what spatch printed, for each script; "none" if spatch or the scripts are missing
set -eu
most=1000000

scripts="$SRC/scripts/coccinelle"
if ! command -v spatch > /dev/null || [ ! -d "$scripts" ]; then
    echo none > "$OUT/coccicheck"
    exit 0
fi
cd "$SRC"
# As scripts/coccicheck does in its mode "report": scripts without that mode are left out, and their own options are used.
find scripts/coccinelle -name '*.cocci' | LC_ALL=C sort | while read -r script; do
    grep -q '^virtual.*\breport\b\|^virtual report' "$script" || continue
    options=$(sed -n 's,^// *Options: *,,p' "$script" | head -n 1)
    status=0
    # shellcheck disable=SC2086
    timeout 300 spatch -D report --very-quiet --no-show-diff --cocci-file "$script" $options \
        -j "$JOBS" --include-headers -I "$SRC/include" --dir "$FOLDER" > "$OBJ/said" 2> "$OBJ/errors" < /dev/null || status=$?
    echo "== $status $script"
    head -c "$most" "$OBJ/said"
    [ "$status" = 0 ] || head -c 2000 "$OBJ/errors"
    echo
done > "$OUT/coccicheck"
