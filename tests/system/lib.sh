# Shared by tests/system/test_*.sh: a daemon of their own in a folder of their own, and what is expected.
# BUILD is the build folder (set by ctest). Everything goes away at the end; the daemon must end in peace.
set -u
bin=$BUILD/bin
vmctl=$bin/vmctl
stub=$BUILD/tests/bin/vmd-worker-stub
dir=$(mktemp -d)
export HOME=$dir XDG_CONFIG_HOME=$dir/config # the files of whoever runs the tests are no part of them
export VMD_SOCKET=$dir/run/vmd.sock
failures=0
latency_runs=200
grep -q '^VV_SANITIZE:.*=.' "$BUILD/CMakeCache.txt" && latency_runs=20 # each command takes half a second in such a build
daemon=

say() { printf '%s\n' "$*"; }
fail() {
    say "FAIL: $*"
    failures=$((failures + 1))
}

# start_daemon [FLAGS...]: with the stub worker unless VMD_WORKER says otherwise.
start_daemon() {
    ${VMD_AS:-} "$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" --worker "${VMD_WORKER:-$stub}" --stop-grace 300 "$@" \
        2>>"$dir/log" &
    daemon=$!
    for _ in $(seq 200); do
        # it answers: after a crash the old socket is still there
        "$vmctl" ps >/dev/null 2>&1 && return 0
        sleep 0.02
    done
    say "the daemon did not start:"
    cat "$dir/log"
    exit 1
}

stop_daemon() {
    kill "$daemon" 2>/dev/null
    wait "$daemon"
    status=$?
    daemon=
    [ $status = 0 ] || fail "the daemon ended with $status"
}

# An image that only the stub can run: the manager never looks into one.
fake_image() {
    mkdir -p "$dir/state/images"
    chmod 700 "$dir/state" "$dir/state/images"
    digest=sha256-$(printf fake | sha256sum | cut -d' ' -f1)
    printf fake >"$dir/state/images/$digest.erofs"
    printf 'vmd image names 1\nfake %s\n' "$digest" >"$dir/state/images/names"
}

# run ARGS...: vmctl, bounded; fills $out, $err, $code.
run() {
    timeout -s KILL 20 "$vmctl" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    out=$(cat "$dir/out")
    err=$(cat "$dir/err")
}
guest() { run run --image fake "$@"; }

# expect NAME CODE OUTPUT [PATTERN OF STDERR]
expect() {
    [ "$code" = "$2" ] || fail "$1: exit code $code, expected $2 ($err)"
    case $out in
    $3) ;;
    *) fail "$1: printed \"$out\", expected \"$3\"" ;;
    esac
    if [ $# -gt 3 ]; then
        case $err in
        $4) ;;
        *) fail "$1: said \"$err\", expected \"$4\"" ;;
        esac
    fi
}

# eventually COMMAND...: true within 5 seconds.
eventually() {
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}

# Until vmctl takes SIGINT (by a descriptor, hence blocked) the process is the shell's child, or ignores it.
takes_interrupts() {
    awk '/^Name:/ { name = $2 } /^SigBlk:/ { exit !(name == "vmctl" && $2 ~ /[2367abef]$/) }' "/proc/$1/status"
}

finish() {
    [ -n "$daemon" ] && stop_daemon
    if grep -qE 'Sanitizer|runtime error|assertion|Assertion' "$dir/log"; then
        fail "the daemon's log:"
        cat "$dir/log"
    fi
    if [ $failures != 0 ]; then
        say "--- log"
        tail -n 50 "$dir/log"
        rm -rf "$dir"
        exit 1
    fi
    rm -rf "$dir"
    exit 0
}
trap '[ -n "$daemon" ] && kill -KILL "$daemon"; rm -rf "$dir"' EXIT INT TERM
