#!/bin/bash
# Clients that misbehave (abuse.c).
. "$(dirname "$0")/lib.sh"
fake_image
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:quarantine_size_mb=1 # memory is measured
start_daemon
timeout -s KILL 100 "$BUILD/tests/bin/system-abuse" >"$dir/abuse" 2>&1 || {
    fail "abuse"
    cat "$dir/abuse"
}
timeout -s KILL 100 /usr/bin/python3 "$(dirname "$0")/abuse_rpc.py" "$VMD_SOCKET" >"$dir/abuse" 2>&1 || {
    fail "abuse of frames"
    cat "$dir/abuse"
}
finish
