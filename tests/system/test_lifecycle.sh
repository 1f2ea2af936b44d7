#!/bin/bash
# ps, stop, kill, wait, logs, rm; detached guests; workers that die; the daemon's end.
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon

guest -d --name a sleep
expect "a detached guest prints its name" 0 "a"
run ps
case $out in
*"a  "*running*sleep*) ;;
*) fail "ps shows it: $out" ;;
esac
run stop a
expect "stop sends SIGTERM" 0 ""
run ps -a
case $out in
*"signal 15 (SIGTERM)"*) ;;
*) fail "ps -a shows the reason: $out" ;;
esac
run stop a
expect "a guest stops once" 125 "" '*guest "a" has ended before: there is nothing to stop*'
run rm a
guest -d --name b spin
run stop --grace 0.2 b
expect "after the grace it is killed" 0 ""
run ps -a
case $out in
*"b  "*killed*) ;;
*) fail "ps -a says killed: $out" ;;
esac
guest -d --name c spin
run rm c
expect "a running guest is not removed" 125 "" '*guest "c" is running: stop it first, or use force*'
run rm -f c
expect "rm -f kills" 0 ""
guest -d --name d sleep
run kill -s HUP d
expect "kill -s" 0 ""
run wait d
expect "wait prints the code" 0 "129"
run wait --timeout 0.1 d nosuch
expect "wait for one that is not there" 125 "129" '*nosuch*'
guest -d --name e spin
run wait --timeout 0.1 e
expect "wait has a deadline" 124 "" "*e: the deadline passed*"
run kill e
expect "kill" 0 ""
run wait e
expect "killed is 137" 0 "137"

guest -d --name f echo to the log
run wait f
run logs f
expect "logs" 0 "to the log"
guest -d --name g flood 2000000
run wait g
run logs g
case $err in
*"bytes of output are gone from the log"*) ;;
*) fail "a log is bounded and says so: $err" ;;
esac
[ ${#out} -ge 262144 ] || fail "a log keeps 256 KiB: ${#out}"
guest -d --name writer flood 100000000000
run logs writer
expect "logs of one that writes on end" 0 "*"
run kill writer
guest -d --name h cat
"$vmctl" logs -f h >"$dir/follow" &
follower=$!
sleep 0.1
run kill h
wait $follower || fail "logs -f ends with the guest"

# A worker that dies takes its guests along, with the reason, and nobody else.
guest -d --name innocent spin
guest crash
expect "a crash of the worker" 125 "" "*worker*died of signal 5*"
run ps -a
case $out in
*innocent*"failed: worker"*"signal 5"*) ;;
*) fail "its other guests say why they ended: $out" ;;
esac
guest nonsense
expect "a worker that talks nonsense is killed" 125 "" "*worker*was killed: nonsense from the worker*"
guest echo on
expect "the daemon goes on" 0 "on"
for i in $(seq 25); do guest -d --name n$i spin; done
run version
case $out in
*"4 workers, 25 of"*) ;;
*) fail "12 guests to a worker and one that is nobodys yet: $out $err" ;;
esac
guest crash
run ps -q
[ "$(echo "$out" | wc -l)" -ge 12 ] || fail "guests of other workers live on: $out $err"

# A daemon that ends stops its guests.
"$vmctl" run --image fake sleep </dev/null >/dev/null 2>"$dir/err" &
client=$!
sleep 0.2
stop_daemon
wait $client
[ $? = 143 ] || fail "an attached client learns of the end: $?, $(cat "$dir/err")"
[ -e "$VMD_SOCKET" ] && fail "the socket is removed"
start_daemon
run image ls -q
expect "images are there after a restart" 0 "fake"
# A daemon that is killed takes its workers along, if it is told to, and the next one finds everything free.
stop_daemon
printf 'workers:\n  running_guests: lose\n' >"$dir/lose.yaml"
start_daemon --config "$dir/lose.yaml"
guest -d spin
workers=$(pgrep -P $daemon)
kill -KILL $daemon
{ wait $daemon; } 2>/dev/null
for w in $workers; do
    eventually sh -c "! kill -0 $w" || fail "worker $w outlives its daemon"
done
start_daemon
guest echo again
expect "after a crash of the daemon" 0 "again"
"$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/other" 2>"$dir/err" && fail "a second daemon on one socket"
grep -q "answers at" "$dir/err" || fail "it says that one answers: $(cat "$dir/err")"
"$bin/vmd" --socket "$dir/other.sock" --state "$dir/state" 2>"$dir/err" && fail "a second daemon on one state"
grep -q "another vmd keeps its state" "$dir/err" || fail "it says who has the state: $(cat "$dir/err")"
mkdir "$dir/open" && chmod 777 "$dir/open"
"$bin/vmd" --socket "$dir/open/s" --state "$dir/other" 2>"$dir/err" && fail "a socket in a folder open to all"
finish
