#!/bin/sh -e
# needs: CONFIG_TEST_XARRAY CONFIG_TEST_PRINTF CONFIG_TEST_BITMAP CONFIG_TEST_UUID
# What the modules said when they were loaded. One whose tests fail does not stay loaded.
. "$KMODPIPE_LIB"

dmesg > log
for module in test_bitmap test_printf test_uuid; do
    [ -d "/sys/module/$module" ]
    grep "$module: all [0-9]* tests passed" log || { grep "$module" log; exit 1; }
done
[ -d /sys/module/test_xarray ]
grep 'XArray: [0-9]* of [0-9]* tests passed' log > told
read -r _ passed _ total _ <<EOF
$(sed 's/.*XArray/XArray/' told)
EOF
echo "XArray: $passed of $total"
[ "$passed" -gt 1000 ] && [ "$passed" = "$total" ]
