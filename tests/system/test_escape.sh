#!/bin/bash
# A worker that a guest has taken over (escape.c): what it cannot do, and that nobody else is disturbed.
. "$(dirname "$0")/lib.sh"
attacker=$BUILD/tests/vm/guest/escape
[ -x "$attacker" ] || { say "$attacker is not built (vm-guests)"; exit 1; }
if grep -q '^VV_SANITIZE:.*=.' "$BUILD/CMakeCache.txt"; then
    say "skipped: a sanitizer build has no filter"
    exit 0
fi
chmod 755 "$dir"
export VMD_SOCKET=$dir/s # short: it travels in registers
mkdir "$dir/root"
cp "$attacker" "$dir/root/escape"

# attack NAME WHERE: fills $code, $out, $err. The guest has the manager's number and socket.
attack() { run run --image escape --timeout 20 -- /escape "$1" "$2" "$daemon" "$VMD_SOCKET"; }

# came NAME WHERE EXPECTED
came() {
    attack "$1" "$2"
    case $3 in
    DIES) want="125 *worker*stopped by its confinement*" ;;
    FAILS | LIVES) want="0 $3" ;;
    *) want=$3 ;;
    esac
    line=$(printf '%s\n' "$out" | grep -v '^$' | tail -n 1)
    case $3 in FAILS | LIVES) seen="$code $line" ;; *) seen="$code $err" ;; esac
    # shellcheck disable=SC2254
    case $seen in
    $want) ;;
    *) fail "$1 on $2: expected \"$want\", got \"$seen\" ($err)" ;;
    esac
}

# What a guest of another worker and the daemon did meanwhile.
watch() {
    innocents=
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do # a worker's fill: those that attack come into another one
        run run -d --name "innocent$i" --image escape -- /escape stay
        innocents="$innocents innocent$i"
    done
}
undisturbed() {
    kill -0 "$daemon" 2>/dev/null || fail "the daemon is gone"
    [ "$("$vmctl" ps | grep -c innocent)" = 12 ] || fail "guests of another worker were disturbed: $("$vmctl" ps)"
}

start() {
    VMD_WORKER=$BUILD/tests/bin/vmd-worker-$1 start_daemon
    "$vmctl" image import "$dir/root" --name escape >/dev/null
    watch
}

list=$(sed -n 's/^ATTACK(\([a-z0-9_]*\), \([A-Z]*\), \([A-Z]*\),.*/\1 \2 \3/p' "$(dirname "$0")/escape.def")

# 1. All layers: whatever is not on the list of its thread ends the worker, and the guest is told why.
start escape
while read -r name filtered bare; do
    case $filtered in
    GOES) ;;
    *) case $name in thread_bomb) ;; *) came "$name" vcpu "$filtered" ;; esac ;;
    esac
done <<EOF
$list
EOF
undisturbed
for where in helper loop; do
    for name in open_passwd execve ptrace_manager write_manager kill_manager connect_manager fork_bomb mmap_rwx loosen cut_log_alias; do
        came $name $where DIES
    done
    came log_line $where LIVES
    came wild $where "125 *worker*died of signal 11*"
    came assertion $where "125 *worker*aborted: an error of its own*"
done
came wild vcpu "125 *worker*died of signal 11*"
came assertion vcpu "125 *worker*aborted: an error of its own*"
came int80 vcpu "125 *worker*" # a kernel without that door: SIGSEGV
came garbage loop "125 *worker*was killed: nonsense from the worker*"
came thread_bomb loop FAILS
undisturbed
grep -q 'hello from inside' "$dir/log" || fail "the log was cut"
stop_daemon

# 2. A host without seccomp: the other layers.
rm -rf "$dir/state"
start bare
while read -r name filtered bare; do
    case $bare in
    SKIP) ;;
    *) came "$name" vcpu "$bare" ;;
    esac
done <<EOF
$list
EOF
undisturbed
"$BUILD/tests/bin/system-doctor" | grep -q '^FAILED|seccomp|missing: this is a test without it|' ||
    fail "doctor does not see that seccomp is missing"
sed -i '/hello from inside/d; /assertion failed: a != ATTACK_assertion/d' "$dir/log" # lib.sh takes it for ours
finish
