#!/bin/bash
# Metrics: the format, figures that move, the HTTP around them and who abuses it.
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3
sock=$dir/run/metrics.sock
fake_image
start_daemon --metrics "unix:$sock"

# get PATH [CURL FLAGS...]: fills $out and $code (HTTP status).
get() {
    path=$1
    shift
    code=$(curl -sS --max-time 10 -o "$dir/body" -w '%{http_code}' "$@" --unix-socket "$sock" "http://localhost$path" 2>"$dir/err")
    out=$(cat "$dir/body" 2>/dev/null)
}
# value SAMPLE: of the last answer.
value() { printf '%s\n' "$out" | awk -v s="$1" '$1 == s { print $2 }'; }

get /metrics
[ "$code" = 200 ] || fail "GET /metrics: $code, $(cat "$dir/err")"
said=$($python "$(dirname "$0")/prom_check.py" <"$dir/body") || fail "the format: $said"
[ "$(value vmd_guest_starts_total)" = 0 ] || fail "no guest was started yet"
# Each row of the tables is there.
for name in $(sed -n 's/^MGR_METRIC([A-Z_]*, [A-Z]*, [a-z]*, "\([a-z_]*\)".*/\1/p' "$(dirname "$0")/../../daemon/manager/metrics.def"); do
    grep -q "^# TYPE $name " "$dir/body" || fail "$name is missing"
done
for name in $(sed -n 's/^PROF_COUNTER([A-Z0-9_]*, "\([a-z0-9_]*\)".*/\1/p' "$(dirname "$0")/../../engine/profile/counters.def"); do
    grep -q "^vmd_engine_${name}_total " "$dir/body" || fail "the engine's $name is missing"
done

guest --rm echo twelve bytes
guest -d --name s spin
guest --rm echo more
guest crash # perhaps before it was heard to have started
get /metrics
said=$($python "$(dirname "$0")/prom_check.py" <"$dir/body") || fail "the format, with figures: $said"
[ "$(value vmd_guest_starts_total)" -ge 3 ] || fail "three guests were started: $(value vmd_guest_starts_total)"
[ "$(value vmd_guest_start_seconds_count)" = "$(value vmd_guest_starts_total)" ] || fail "their starts were timed"
[ "$(value vmd_guest_ends_total)" = 2 ] || fail "two ended: $(value vmd_guest_ends_total)"
[ "$(value vmd_guest_failures_total)" = 2 ] || fail "two were lost: $(value vmd_guest_failures_total)"
[ "$(value vmd_worker_deaths_total)" = 1 ] || fail "one worker died: $(value vmd_worker_deaths_total)"
[ "$(value vmd_console_bytes_total)" -ge 13 ] || fail "console bytes: $(value vmd_console_bytes_total)"
[ "$(value 'vmd_guests{tenant="default",state="failed"}')" = 2 ] || fail "two failed guests are known: $(value 'vmd_guests{tenant="default",state="failed"}')"
[ "$(value 'vmd_calls_total{method="CreateGuest",status="OK"}')" = 4 ] || fail "CreateGuest was called four times"
[ "$(value 'vmd_quota_limit{tenant="default",quota="guests"}')" = +Inf ] || fail "the default tenant has no quota"
run stop nosuch
get /metrics
[ "$(value 'vmd_calls_total{method="StopGuest",status="NOT_FOUND"}')" = 1 ] || fail "a refused call is counted by its status"

get /healthz
[ "$code:$out" = 200:ok ] || fail "/healthz: $code:$out"
get /readyz
[ "$code:$out" = 200:ready ] || fail "/readyz: $code:$out"
get /other
[ "$code" = 404 ] || fail "/other: $code"
get /metrics -X POST
[ "$code" = 405 ] || fail "POST: $code"
get /metrics -I
[ "$code" = 200 ] || fail "HEAD: $code"
get "/$(printf 'a%.0s' $(seq 300))"
[ "$code" = 414 ] || fail "a long path: $code"
get /metrics -H "X: $(printf 'a%.0s' $(seq 9000))"
[ "$code" = 431 ] || fail "a large head: $code"
[ "$(stat -c %a "$sock")" = 600 ] || fail "the socket is private: $(stat -c %a "$sock")"

# Peers that say nothing: beyond 64 the newest is refused, the daemon serves on, and they are let go after 10 s.
$python - "$sock" <<'PY' || fail "silent peers"
import socket, sys, time
def peer():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(15)
    s.connect(sys.argv[1])
    return s
silent = [peer() for _ in range(64)]
time.sleep(0.2)
extra = peer()
assert extra.recv(1) == b"", "the 65th is closed"
silent[0].sendall(b"GET /healthz HTTP/1.1\r\n")
silent[0].sendall(b"Host: localhost\r\n\r\n")
assert silent[0].recv(100).startswith(b"HTTP/1.1 200 OK"), "a slow one is answered"
assert silent[1].recv(1) == b"", "a silent one is let go"
rude = peer()
rude.sendall(b"\x16\x03\x01\x00\xff" * 20 + b"\r\n\r\n")
assert rude.recv(100).startswith(b"HTTP/1.1 400"), "TLS is no HTTP"
PY
run ps
expect "the daemon went on" 0 "*"

# On TCP: loopback only, and only by a loopback name.
stop_daemon
[ -e "$sock" ] && fail "the metrics socket is removed"
port=$($python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
start_daemon --metrics "127.0.0.1:$port"
code=$(curl -sS -o "$dir/body" -w '%{http_code}' "http://127.0.0.1:$port/metrics")
[ "$code" = 200 ] || fail "TCP: $code"
code=$(curl -sS -o "$dir/body" -w '%{http_code}' -H 'Host: rebound.example' "http://127.0.0.1:$port/metrics")
[ "$code" = 421 ] || fail "another Host: $code"
"$bin/vmd" -t --metrics "0.0.0.0:$port" >"$dir/out" 2>"$dir/err" && fail "a port for everybody is refused"
grep -q "no loopback address" "$dir/err" || fail "it says why: $(cat "$dir/err")"
"$bin/vmd" --socket "$dir/x/s" --state "$dir/x/state" --metrics "127.0.0.1:$port" 2>"$dir/err" && fail "a port that is taken"
grep -q "address already in use" "$dir/err" || fail "it says that it is taken: $(cat "$dir/err")"
finish
