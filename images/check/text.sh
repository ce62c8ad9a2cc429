#!/bin/sh
# What the tree's own scripts say of patches, and of the comments in the files that these touch.
#
#   SRC              the tree, read-only: its checkpatch.pl and kernel-doc are run, not those of a patch
#   PATCHES/N.patch  the patches as mails, N = 1, 2 …
#   FILES/N/PATH     the touched sources after patch N, 0 for before the first
#   OUT/checkpatch   "== N STATUS", and what it printed, for each patch; "none" if the tree has no checkpatch
#   OUT/kernel-doc   "== N STATUS PATH", and what it printed, for each file; "none" if the tree has no kernel-doc
set -eu
most=1000000

# What is wrong for certain: where a script says nothing of it, its silence about the others says nothing either.
cat > "$OBJ/0.patch" <<'EOF_PATCH'
From: Canary <canary@localhost.invalid>
Subject: [PATCH] canary

--- a/canary.h
+++ b/canary.h
@@ -0,0 +1,1 @@
+int canary;   
EOF_PATCH
mkdir "$OBJ/canary"
cat > "$OBJ/canary/canary.h" <<'EOF_HEADER'
/**
 * canary() - Sing.
 * @nothing: Is no parameter.
 */
int canary(int note);
EOF_HEADER

look_at() {
    status=0
    # The tree's history is looked at elsewhere.
    perl scripts/checkpatch.pl --strict --terse --show-types --showfile --no-color --ignore UNKNOWN_COMMIT_ID "$2" \
        > "$OBJ/said" 2>&1 < /dev/null || status=$?
    echo "== $1 $status"
    head -c "$most" "$OBJ/said"
    # What ends in the middle of a line must not swallow the next part.
    echo
}
comments() {
    status=0
    (cd "$2" && PYTHONDONTWRITEBYTECODE=1 timeout 120 "$SRC/scripts/kernel-doc" -none "$3") > "$OBJ/said" 2>&1 < /dev/null ||
        status=$?
    echo "== $1 $status $3"
    head -c "$most" "$OBJ/said"
    # What ends in the middle of a line must not swallow the next part.
    echo
}

if [ -f "$SRC/scripts/checkpatch.pl" ]; then
    cd "$SRC"
    {
        look_at 0 "$OBJ/0.patch"
        for n in $(ls "$PATCHES" | sed -n 's/^\([0-9]*\)\.patch$/\1/p' | sort -n); do
            look_at "$n" "$PATCHES/$n.patch"
        done
    } > "$OUT/checkpatch"
else
    echo none > "$OUT/checkpatch"
fi

if [ -e "$SRC/scripts/kernel-doc" ]; then
    cd "$FILES"
    {
        comments 0 "$OBJ/canary" canary.h
        find . -type f | sed 's,^\./,,' | LC_ALL=C sort | while read -r file; do
            comments "${file%%/*}" "$FILES/${file%%/*}" "${file#*/}"
        done
    } > "$OUT/kernel-doc"
else
    echo none > "$OUT/kernel-doc"
fi
