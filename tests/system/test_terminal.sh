#!/bin/bash
# vmctl run -t on a terminal (terminal.c).
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon
VMCTL=$vmctl timeout -s KILL 60 "$BUILD/tests/bin/system-terminal" >"$dir/terminal" 2>&1 || {
    fail "terminal"
    cat "$dir/terminal"
}
[ "$(printf 'x\n' | timeout -s KILL 10 "$vmctl" run -t --image fake cat)" = x ] || fail "-t without a terminal ends with its input"
finish
