#!/bin/bash
# What was acknowledged is there after kill -9 of the daemon at any moment; running guests go on, and their output is whole.
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon
crash_daemon() {
    kill -KILL "$daemon"
    { wait "$daemon"; } 2>/dev/null
    start_daemon
}
state_of() { "$vmctl" inspect -o jsonl "$1" 2>/dev/null | sed -n 's/.*"state":"GUEST_STATE_\([A-Z]*\)".*/\1/p'; }
json() { "$vmctl" inspect -o jsonl "$1" 2>/dev/null; }

# ---- guests that ran go on; guests that ended keep how and when ----
guest -d --name runs --label team=blue sleep
expect "a guest that will go on" 0 "runs"
guest --name ended exit 3
expect "a guest that ends" 3 ""
guest --name spoke echo "its log stays"
guest -d --name stands sleep
run pause stands
expect "pause" 0 ""
run create --name waits --image fake echo later
expect "a guest that was only created" 0 "waits"
before=$(json ended)
crash_daemon
[ "$(state_of runs)" = RUNNING ] || fail "a running guest goes on: $(json runs)"
[ "$(state_of stands)" = PAUSED ] || fail "a paused one stands still: $(json stands)"
[ "$(json ended)" = "$before" ] || fail "an ended one is as it was: $before / $(json ended)"
run logs spoke
expect "its log is there" 0 "its log stays"
run start -a waits
expect "a created one can be started by the next daemon" 0 "later"
case $(json runs) in *'"team","value":"blue"'*) ;; *) fail "labels stay: $(json runs)" ;; esac
run resume stands
expect "resume by the next daemon" 0 ""
[ "$(state_of stands)" = RUNNING ] || fail "it goes on: $(json stands)"
run kill runs
expect "kill by the next daemon" 0 ""
case $(json runs) in *'"kind":"END_KIND_KILLED"'*'"by":"default"'*) ;; *) fail "who killed it: $(json runs)" ;; esac
run events --guest runs --since oldest -o jsonl
for type in GUEST_CREATED GUEST_STARTED GUEST_ADOPTED GUEST_STOPPING GUEST_ENDED; do
    case $out in *"$type"*) ;; *) fail "events outlive the daemon: no $type in $out" ;; esac
done

# ---- output that was under way is neither lost nor doubled ----
guest -d --name flood alternate 150000
for _ in 1 2 3 4; do
    sleep "0.0$((RANDOM % 9))"
    crash_daemon
done
eventually sh -c "'$vmctl' inspect -o jsonl flood | grep -q '\"consoleBytes\":\"150000\"'" || fail "every byte is counted once: $(json flood)"
run wait flood
expect "it ended in peace" 0 "0"

# ---- kill -9 at random moments: what was answered is there ----
for i in $(seq 12); do
    ("$vmctl" run -d --name "r$i" --image fake sleep >"$dir/r$i" 2>/dev/null; "$vmctl" create --name "c$i" --image fake echo x >"$dir/c$i" 2>/dev/null
     "$vmctl" rename "c$i" "d$i" >/dev/null 2>&1 && echo "d$i" >"$dir/d$i") &
    client=$!
    sleep "0.0$((RANDOM % 6))"
    crash_daemon
    { wait $client; } 2>/dev/null
    [ ! -s "$dir/r$i" ] || [ "$(state_of "r$i")" = RUNNING ] || fail "a started guest is lost: r$i $(json "r$i")"
    if [ -s "$dir/d$i" ]; then
        [ -n "$(state_of "d$i")" ] || fail "a renamed guest is lost: d$i"
    elif [ -s "$dir/c$i" ]; then
        [ -n "$(state_of "c$i")$(state_of "d$i")" ] || fail "a created guest is lost: c$i"
    fi
done
"$vmctl" rm -f $("$vmctl" ps -aq) >/dev/null 2>&1
[ -z "$("$vmctl" ps -aq)" ] || fail "all are gone: $("$vmctl" ps -a)"
[ -z "$(ls "$dir/state/console")" ] || fail "consoles of removed guests: $(ls "$dir/state/console")"

# ---- SIGUSR1 leaves guests to the next daemon ----
guest -d --name stays sleep
kill -USR1 "$daemon"
wait "$daemon" || fail "leaving ends in peace"
start_daemon
[ "$(state_of stays)" = RUNNING ] || fail "it was left running: $(json stays)"

# ---- a worker that died meanwhile: lost, with the reason ----
worker=$(json stays | sed -n 's/.*"workerPid":\([0-9]*\).*/\1/p')
kill -KILL "$daemon" "$worker"
{ wait "$daemon"; } 2>/dev/null
start_daemon
case $(json stays) in *GUEST_STATE_FAILED*END_KIND_LOST*"its worker"*) ;; *) fail "lost, with the reason: $(json stays)" ;; esac

# ---- running_guests: lose ----
guest -d --name short sleep
stop_daemon
printf 'workers:\n  running_guests: lose\n' >"$dir/lose.yaml"
start_daemon --config "$dir/lose.yaml"
guest -d --name lost sleep
kill -KILL "$daemon"
{ wait "$daemon"; } 2>/dev/null
start_daemon --config "$dir/lose.yaml"
case $(json lost) in *GUEST_STATE_FAILED*END_KIND_LOST*) ;; *) fail "declared lost: $(json lost)" ;; esac

# ---- a journal that was cut off, and one that is damaged ----
stop_daemon
printf 'torn' >>"$dir/state/journal"
start_daemon
grep -q "the last record was cut off" "$dir/log" || fail "a cut off record is told of"
[ "$(state_of lost)" = FAILED ] || fail "and nothing else is lost"
stop_daemon
cp "$dir/state/journal" "$dir/good"
printf '\377' | dd of="$dir/state/journal" bs=1 seek=40 conv=notrunc 2>/dev/null
"$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" --worker "$stub" 2>"$dir/err" && fail "a damaged journal is refused"
grep -q "journal.*byte" "$dir/err" || fail "it says where: $(cat "$dir/err")"
cp "$dir/good" "$dir/state/journal"
start_daemon
finish
