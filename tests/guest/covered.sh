#!/bin/sh
# covered.sh SOURCE - every row LX_CALL(number, name) of the call table has a program here whose `tests:` lines name it.
set -eu
cd "$1"
calls=$(find engine/linux -name '*.def' -exec sed -n 's/^ *LX_CALL([^,]*, *\([a-z0-9_]*\).*/\1/p' {} + | sort -u)
tested=$(sed -n 's/^.*tests: \([a-z0-9_ ]*\)$/\1/p' tests/guest/*.c | tr ' ' '\n' | sort -u)
missing=
for c in $calls; do
    printf '%s\n' "$tested" | grep -qx "$c" || missing="$missing $c"
done
if [ -n "$missing" ]; then
    echo "system calls without a program in tests/guest that names them in its 'tests:' line:$missing" >&2
    exit 1
fi
echo "$(printf '%s\n' "$calls" | wc -l) system calls, each with its test"
