#!/bin/bash
# Many guests, created, run and removed: nothing is left, and it is quick.
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon
n=$latency_runs
for _ in $(seq 20); do guest --rm echo x; done
run version
before=$(ls /proc/$daemon/fd | wc -l)
worker=$(pgrep -P $daemon | head -1)
before_worker=$(ls /proc/$worker/fd | wc -l)
"$BUILD/tests/bin/system-latency" -n $n "$vmctl" run --rm -n --image fake echo x >"$dir/latency" || fail "$n runs"
say "vmctl run of a stub guest, ms: median, p99, worst: $(cat "$dir/latency")"
for i in 1 2 3; do guest -d --name other$i flood 1000000000000; done
"$BUILD/tests/bin/system-latency" -n $n -p "$vmctl run -d --rm --name victim --image fake spin >/dev/null" "$vmctl" kill victim \
    >"$dir/latency" || fail "$n kills"
say "vmctl kill beside three that write, ms: median, p99, worst: $(cat "$dir/latency")"
run rm -f other1 other2 other3
# 12 at a time, ended in every way
for round in $(seq 8); do
    for what in "echo x" "exit 3" "sleep" "spin" "flood 100000" "signal 9" "missing" "limit" "cat" "err y" "sleep" "spin"; do
        timeout -s KILL 20 "$vmctl" run --image fake --rm --timeout 0.3 $what </dev/null >/dev/null 2>&1 &
        clients="${clients-} $!"
    done
    wait $clients
    clients=
done
eventually sh -c "[ -z \"\$($vmctl ps -aq)\" ]" || fail "all guests are gone: $("$vmctl" ps -a)"
eventually sh -c "[ \$(ls /proc/$daemon/fd | wc -l) -le $((before + 4)) ]" || fail "descriptors of the daemon: $before, $(ls /proc/$daemon/fd | wc -l)"
kill -0 $worker || fail "the worker lives"
[ "$(ls /proc/$worker/fd | wc -l)" -le $before_worker ] || fail "descriptors of the worker"
[ "$(ls /proc/$worker/task | wc -l)" -le 2 ] || fail "threads of the worker: $(ls /proc/$worker/task | wc -l)"
ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
idle_from="$(ticks $daemon) $(ticks $worker)"
sleep 1
[ "$(ticks $daemon) $(ticks $worker)" = "$idle_from" ] || fail "an idle daemon and worker sleep: $idle_from, $(ticks $daemon) $(ticks $worker)"
for i in $(seq 30); do guest -d --name n$i sleep; done
"$vmctl" rm -f $("$vmctl" ps -q) || fail "rm of many"
eventually sh -c "$vmctl version | grep -q ' 1 workers, 0 of 0'" || fail "workers that are not needed go: $("$vmctl" version)"

# isolation: guest. A worker goes with its guest, one that another daemon took over as well.
stop_daemon
printf 'workers:\n  isolation: guest\n' >"$dir/vmd.yaml"
start_daemon --config "$dir/vmd.yaml"
pids=
for i in $(seq 8); do
    guest -d --name own$i sleep
    pids="$pids $("$vmctl" inspect -o jsonl own$i | sed -n 's/.*"workerPid":\([0-9]*\).*/\1/p')"
done
[ "$(printf '%s\n' $pids | sort -u | wc -l)" = 8 ] || fail "each has a worker: $pids"
over() { for p; do ! grep -q '^State:.[^Z]' "/proc/$p/status" 2>/dev/null || return 1; done; }
run rm -f own1 own2 own3 own4
eventually over $(printf '%s\n' $pids | head -4) || fail "workers stay when their guests are gone"
kill -KILL "$daemon"
{ wait "$daemon"; } 2>/dev/null
start_daemon --config "$dir/vmd.yaml"
run rm -f own5 own6 own7 own8
expect "guests of workers that were taken over" 0 ""
eventually over $pids || fail "workers that were taken over stay when their guests are gone"
finish
