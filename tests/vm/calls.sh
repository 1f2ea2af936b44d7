#!/bin/sh
# calls.sh BIN_DIR TESTS_BIN_DIR GUESTS_DIR ROOT PROGRAM... - every rule of the tables of host calls is needed, and there is no other call.
#
# Runs vmd under strace with a worker that guests can bring down (vmd-worker-escape: the same table), has guests and an import
# exercise it, and lets system-calls compare each call of each thread with the rules of its class.
set -eu
bin=$1 tests=$2 guests=$3 image=$4
shift 4
dir=$(mktemp -d)
vmd=
# strace does not pass a signal on
stop() { kill "$(pgrep -P "$vmd" -x vmd || echo "$vmd")" 2>/dev/null || :; }
cleanup() {
    [ $? = 0 ] || tail -n 20 "$dir/vmd.log"
    [ -z "$vmd" ] || { pkill -KILL -P "$(pgrep -P "$vmd" -x vmd)" vmd-worker; stop; } 2>/dev/null || :
    wait 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT
export VMD_SOCKET="$dir/s"
vmctl() { "$bin/vmctl" "$@"; }

strace -f -qq -e signal=none -e 'raw=!prctl,execve' -o "$dir/trace" \
    "$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" --worker "$tests/vmd-worker-escape" >"$dir/vmd.log" 2>&1 &
vmd=$!
n=0
until vmctl ps >/dev/null 2>&1; do
    n=$((n + 1))
    [ $n -lt 400 ] || { cat "$dir/vmd.log"; echo "calls: vmd does not answer"; exit 1; }
    sleep 0.05
done
daemon=$(pgrep -P "$vmd" -x vmd)
cp -a "$image" "$dir/root"
mkdir "$dir/root/suite"
cp "$@" "$guests/churn" "$guests/escape" "$dir/root/suite"
vmctl image import "$dir/root" --name suite >/dev/null
tar -C "$dir/root" -cJf "$dir/suite.tar.xz" .
vmctl image import "$dir/suite.tar.xz" --name packed >/dev/null
vmctl image export packed -o "$dir/out.tar" >/dev/null
for program; do
    vmctl run --image suite -w /tmp -- "/suite/${program##*/}" >/dev/null 2>&1 </dev/null || :
done
vmctl run --image suite -- sh -c 'i=0; while [ $i -lt 300 ]; do : >/tmp/$i; i=$((i+1)); done; ls /tmp >/dev/null' </dev/null
vmctl run --image suite -- /suite/churn </dev/null
# Many wake-ups of the loop, some of them while it looks: it yields to the thread that sends one.
for _ in 1 2 3; do
    vmctl run --image suite -- sh -c 'i=0; while [ $i -lt 1500 ]; do echo $i; i=$((i+1)); done' >/dev/null </dev/null
done

# A stop of the process interrupts its waits.
vmctl run -d --image suite --name sleeper -- sleep 3 >/dev/null
sleep 0.5
pkill -STOP -P "$daemon" vmd-worker
sleep 0.2
pkill -CONT -P "$daemon" vmd-worker
vmctl wait sleeper >/dev/null

# Our own errors: what is said, and how the worker ends.
for where in vcpu helper loop; do
    vmctl run --image suite -- /suite/escape log_line $where "$daemon" "$VMD_SOCKET" >/dev/null 2>&1 </dev/null || :
    vmctl run --image suite -- /suite/escape assertion $where "$daemon" "$VMD_SOCKET" >/dev/null 2>&1 </dev/null || :
    # A process 1 that is traced does not die of its fault, it faults for ever: one look is enough.
    vmctl run --image suite -- /suite/escape wild $where "$daemon" "$VMD_SOCKET" >/dev/null 2>&1 </dev/null &
    guest=$!
    sleep 1
    pkill -KILL -P "$daemon" vmd-worker || :
    wait $guest || :
done

# A daemon that dies, and the one after it, which the worker hears then.
vmctl run -d --image suite --name orphan -- sleep 100 >/dev/null
kill -KILL "$daemon"
while kill -0 "$daemon" 2>/dev/null; do sleep 0.02; done # strace's child, not ours: no wait
"$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" --stop-grace 0 >>"$dir/vmd.log" 2>&1 &
next=$!
n=0
until vmctl ps 2>/dev/null | grep -q orphan; do
    n=$((n + 1))
    [ $n -lt 200 ] || { cat "$dir/vmd.log"; echo "calls: the next vmd does not have the guest"; exit 1; }
    sleep 0.05
done
vmctl kill orphan >/dev/null
kill $next
wait $next || :
wait $vmd 2>/dev/null || :
vmd=
if grep -q SIGSYS "$dir/vmd.log"; then
    grep SIGSYS "$dir/vmd.log"
    exit 1
fi
"$tests/system-calls" "$dir/trace"
