#!/bin/bash
# vmctl and a running guest: pause, resume, rename, stats, events, tenants, top's refusal.
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon
"$vmctl" run -d --image fake --name live -l team=blue spin >/dev/null
run pause live
case $err in *"no such method"*)
    say "this daemon does not pause: the rest is not tested"
    "$vmctl" rm -f live
    finish
    ;;
esac
expect "pause" 0 ""
run ps
expect "paused" 0 '*live *paused*'
run pause live
expect "twice" 125 "" '*live*'
run resume live
expect "resume" 0 ""
run rename live lively
expect "rename" 0 ""
run ps -q
expect "its new name" 0 "lively"
run stats --no-stream lively
expect "stats" 0 'NAME*CPU%*lively *'
run stats --no-stream -o json
expect "stats as JSON" 0 '*"guest": {*"name": "lively"*"cpu": *'
timeout 20 "$vmctl" events -f --type guest-ended -o jsonl >"$dir/events" &
watcher=$!
sleep 0.3
run kill lively
expect "kill" 0 ""
eventually grep -q '"type":"EVENT_TYPE_GUEST_ENDED".*"subject":"lively"' "$dir/events" || fail "events -f: $(cat "$dir/events")"
kill $watcher
run events
expect "events" 0 '*guest-created *live*guest-paused*guest-resumed*guest-renamed*lively*guest-ended*'
cursor=$("$vmctl" events -o json | sed -n 's/.*"cursor": "\(.*\)".*/\1/p' | tail -n 2 | head -n 1)
run events --since "$cursor" -o name
expect "events behind a cursor" 0 "?*"
[ "$(printf '%s\n' "$out" | wc -l)" = 1 ] || fail "one event behind the last but one: $out"
run tenants
expect "tenants" 0 'TENANT*GUESTS*MEMORY*you*'
run ps -a --filter label.team=blue -o name
expect "a filter" 0 "lively"
run top
expect "top without a terminal" 125 "" "*top needs a terminal*"
finish
