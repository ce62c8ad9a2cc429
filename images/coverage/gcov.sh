#!/bin/sh
# What counters say of the lines: COUNTERS/<n>/x.gcno and, if anything was counted, x.gcda -> OUT/<n>.json, as
# gcov --json-format prints it. Both files come from untrusted code: one that gcov cannot read leaves an empty file.
set -eu
cd "$COUNTERS"
# In blocks of 512 bytes: more is not read.
ulimit -f 262144
# gcov 10 takes a file by the name that its data would have, whether there is any or not.
ls | xargs -P "$JOBS" -I{} sh -c '
    timeout 60 gcov --json-format --stdout --branch-probabilities "{}/x.gcda" > "$OUT/{}.json" 2> /dev/null || : > "$OUT/{}.json"'
