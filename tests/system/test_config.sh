#!/bin/bash
# The configuration: vmd -t, what is said of a wrong file, SIGHUP, flags above the file, logs, the service manager's protocols.
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3
conf=$dir/vmd.yaml
fake_image

check() {
    out=$("$bin/vmd" -t --config "$conf" 2>"$dir/err")
    code=$?
    err=$(cat "$dir/err")
}
log_says() { eventually grep -q -- "$1" "$dir/log" || fail "the log says \"$1\""; }

# vmd -t
: >"$conf"
check
expect "an empty file is fine" 0 "vmd: $conf: OK" ""
printf 'log:\n  levle: info\nlimits: {vcpus: 99, memory: 1}\n' >"$conf"
check
expect "every mistake is said, with its place" 1 "" "$conf:2:3: unknown key \"levle\"; did you mean \"level\"[?]
$conf:3:17: vcpus: \"99\" is too large; expected a whole number, 1 to 16
$conf:3:29: memory: \"1\" is too small; expected *"
"$bin/vmd" --config "$conf" --socket "$VMD_SOCKET" --state "$dir/state" 2>"$dir/err" && fail "it does not start with a wrong file"
grep -q "did you mean" "$dir/err" || fail "and says why: $(cat "$dir/err")"
"$bin/vmd" -t --config "$dir/nosuch" 2>"$dir/err" && fail "a named file must exist"
XDG_CONFIG_HOME=$dir HOME=$dir "$bin/vmd" -t >"$dir/out" 2>&1 || fail "without a file: $(cat "$dir/out")"
head -c 2000000 /dev/zero >"$conf"
check
expect "a file that is too large" 1 "" "*: larger than 1048576 bytes*"
mkfifo "$dir/fifo"
timeout 5 "$bin/vmd" -t --config "$dir/fifo" 2>"$dir/err"
[ $? = 1 ] || fail "a fifo is no file, and is not waited for"

# Logs as JSON; limits, tenants and what else a reload takes over.
cat >"$conf" <<YAML
log: {level: info, format: json}
daemon: {state: $dir/state, worker: $stub}
metrics: {listen: "unix:$dir/run/m.sock"}
tenants:
  - name: mine
    users: [$(id -u)]
    admin: true
    quotas: {guests: 5}
YAML
start_daemon --config "$conf"
$python -c 'import json, sys; [json.loads(l) for l in open(sys.argv[1])]' "$dir/log" || fail "the log is lines of JSON"
quota() { curl -sS --unix-socket "$dir/run/m.sock" http://localhost/metrics | grep "^vmd_quota_limit{tenant=\"mine\",quota=\"guests\"} $1\$" >/dev/null; }
eventually quota 5 || fail "the quota of the file is in force"
sed -i 's/guests: 5/guests: 7/; s/level: info/level: debug/; s/format: json/format: text/' "$conf"
kill -HUP $daemon
log_says "reload: log.level has changed"
log_says "reload: log.format has changed"
log_says "reload: tenants have changed: 1 now"
log_says " vmd info: reload: done, 3 keys changed"
eventually quota 7 || fail "the new quota is in force"
printf 'listen: [{unix: %s}]\n' "$dir/elsewhere" >>"$conf"
sed -i 's/format: text/format: txet/' "$conf"
kill -HUP $daemon
log_says "vmd.yaml:1:29: format: \"txet\" is none of them; did you mean \"text\"?"
log_says "reload: the configuration stays as it was"
quota 7 || fail "a wrong file changes nothing"
sed -i 's/txet/text/; s/core_dumps.*//; s/^daemon: {/daemon: {core_dumps: true, /' "$conf"
kill -HUP $daemon
log_says "reload: daemon.core_dumps has changed: that takes effect when vmd is restarted"
run ps
expect "it goes on" 0 "*"
sed -i "s/users: .*/users: [54321]/" "$conf"
kill -HUP $daemon
log_says "reload: done, 1 key changed"
run ps
[ "$code" = 125 ] || fail "whoever is no tenant any more is refused: $code $out $err"
sed -i "s/users: .*/users: [$(id -u)]/" "$conf"
kill -HUP $daemon
log_says "tenants have changed"
eventually "$vmctl" ps || fail "a tenant is let in again"
for i in $(seq 20); do kill -HUP $daemon; done
run ps
expect "many reloads" 0 "*"

# A log file, rotated; metrics that move.
sed -i "s|format: text|format: text, file: $dir/a.log|; s|run/m.sock|run/n.sock|" "$conf"
kill -HUP $daemon
eventually grep -q "reload: done" "$dir/a.log" || fail "the log moved to its file"
eventually [ -S "$dir/run/n.sock" ] || fail "metrics moved"
[ -S "$dir/run/m.sock" ] && fail "the old metrics socket is gone"
mv "$dir/a.log" "$dir/b.log"
kill -HUP $daemon
eventually [ -s "$dir/a.log" ] || fail "a rotated log is opened anew"
[ "$(stat -c %a "$dir/a.log")" = 600 ] || fail "the log is private"
stop_daemon

# Flags stand above the file; the background; a pid file; nothing of the starter's is left open.
cat >"$conf" <<YAML
log: {level: error}
listen: [{unix: $dir/nobody.sock}]
daemon: {state: $dir/nobody, worker: $stub}
YAML
mkdir -p "$dir/start"
(cd "$dir/start" && exec 9>"$dir/leak" && "$bin/vmd" --config "$conf" --socket "$VMD_SOCKET" --state "$dir/state" --log-level info \
    --daemonize --pid-file ../pid) || fail "it goes to the background"
pid=$(cat "$dir/pid")
daemon=$pid
[ -e "$dir/nobody.sock" ] || [ -e "$dir/nobody" ] && fail "flags stand above the file"
grep -q "vmd info: version" "$dir/state/vmd.log" || fail "the background's log"
[ "$(readlink "/proc/$pid/cwd")" = / ] || fail "its folder is /"
for fd in /proc/"$pid"/fd/*; do
    case $(readlink "$fd") in
    *leak*) fail "a descriptor of the starter is open in it" ;;
    esac
done
[ "$(awk '/Max core file/ { print $5 }' "/proc/$pid/limits")" = 0 ] || fail "no core files"
[ "$(awk '/^Umask/ { print $2 }' "/proc/$pid/status")" = 0077 ] || fail "its files are its own"
run ps
expect "the background answers" 0 "*"
kill "$pid"
eventually sh -c "! kill -0 $pid" || fail "it ends"
daemon=
[ -e "$dir/pid" ] && fail "the pid file goes with it"

# Doors and their modes.
mkdir -m 755 "$dir/doors"
cat >"$conf" <<YAML
listen: [{unix: $dir/doors/all, mode: "0666"}, {unix: $dir/doors/own}]
daemon: {state: $dir/state, worker: $stub}
YAML
"$bin/vmd" --config "$conf" 2>>"$dir/log" &
daemon=$!
for door in all own; do
    eventually env VMD_SOCKET="$dir/doors/$door" "$vmctl" ps || fail "it answers at $door"
done
[ "$(stat -c %a "$dir/doors/all") $(stat -c %a "$dir/doors/own")" = "666 600" ] || fail "modes: $(stat -c %a "$dir"/doors/*)"
stop_daemon
[ -e "$dir/doors/all" ] || [ -e "$dir/doors/own" ] && fail "its sockets go with it"

# As a service manager starts it: one socket that is listened on, and news to $NOTIFY_SOCKET.
$python - "$bin/vmd" "$stub" "$dir" "$vmctl" <<'PY' || fail "socket activation"
import atexit, os, signal, socket, subprocess, sys
vmd, stub, dir, vmctl = sys.argv[1:]
path, notify = dir + "/run/act.sock", dir + "/run/notify"
os.makedirs(dir + "/run", mode=0o700, exist_ok=True)
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.settimeout(10)
ear.bind(notify)
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
def child():
    os.dup2(s.fileno(), 3)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=notify)
    os.execv(vmd, [vmd, "--state", dir + "/act", "--worker", stub])
pid = os.fork()
if pid == 0:
    child()
assert ear.recv(100) == b"READY=1"
atexit.register(lambda: subprocess.run(["kill", "-KILL", str(pid)], stderr=subprocess.DEVNULL))
done = subprocess.run([vmctl, "ps"], env={"VMD_SOCKET": path}, stdout=subprocess.DEVNULL, timeout=20)
assert done.returncode == 0, "it serves the socket that was passed"
os.kill(pid, signal.SIGHUP)
assert ear.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
assert ear.recv(100) == b"READY=1"
os.kill(pid, signal.SIGTERM)
assert ear.recv(100) == b"STOPPING=1"
assert os.waitpid(pid, 0)[1] == 0
assert os.path.exists(path), "the socket is the service manager's"
PY
# What people read: manual pages that are clean, units that systemd understands.
for page in "$BUILD"/man/*; do
    said=$(groff -man -ww -z -Tutf8 "$page" 2>&1)
    [ -z "$said" ] || fail "$page: $said"
done
grep -q '^\.B quotas.memory' "$BUILD/man/vmd.yaml.5" || fail "vmd.yaml(5) has the keys of the table"
grep -q 'stop..grace' "$BUILD/man/vmd.8" || fail "vmd(8) has the flags of the table"
units=$(dirname "$0")/../../packaging/systemd
if command -v systemd-analyze >/dev/null; then
    for unit in "$units"/*.service "$units"/*.socket "$units"/user/*.service "$units"/user/*.socket; do
        said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -v "is not executable: No such file")
        [ -z "$said" ] || fail "$unit: $said"
    done
fi
# finish() looks for the log of a daemon
finish
