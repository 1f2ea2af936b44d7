#!/bin/bash
# Foreign gRPC clients, unchanged: Debian's grpcio for Python, and buf from npm, which knows the API by reflection only.
# Over the Unix socket, and over TCP with mutual TLS.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
fake_image
python=/usr/bin/python3

# ---- certificates: a CA, the server's, a tenant's, a stranger's of the same CA; another CA and its client
pki=$dir/pki
mkdir -p "$pki"
ca() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$pki/$1.key" \
        -out "$pki/$1.crt" 2>/dev/null
}
sign() { # NAME CA CN SAN
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -keyout "$pki/$1.key" \
        -out "$pki/$1.csr" 2>/dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/$2.crt" -CAkey "$pki/$2.key" -CAcreateserial -days 2 \
        -extfile <(printf 'subjectAltName=%s' "$4") -out "$pki/$1.crt" 2>/dev/null
}
ca ca
ca otherca
sign server ca vmd IP:127.0.0.1,DNS:localhost
sign alice ca alice DNS:alice.example
sign bob ca "somebody else" DNS:bob.example
sign mallory ca mallory DNS:mallory.example
sign eve otherca alice DNS:alice.example

start_daemon --listen tcp+tls://127.0.0.1:0 --tls-cert "$pki/server.crt" --tls-key "$pki/server.key" --tls-ca "$pki/ca.crt" \
    --tls-name alice --tls-name bob.example
port=$(sed -n 's|.*listening on tcp+tls://127.0.0.1:||p' "$dir/log" | head -n 1)
[ -n "$port" ] || fail "no TCP port in the log"

py() { timeout -s KILL 60 $python "$here/grpc_client.py" "$@" >"$dir/py" 2>&1 || fail "grpcio $* ($(tail -n 3 "$dir/py"))"; }
all="unary_calls details deadlines health reflection many_at_once large"
py "unix:$VMD_SOCKET" $all
py "localhost:$port" "$pki/ca.crt" "$pki/alice.crt" "$pki/alice.key" $all    # by its common name
py "localhost:$port" "$pki/ca.crt" "$pki/bob.crt" "$pki/bob.key" unary_calls # by its DNS name
py "localhost:$port" "$pki/ca.crt" "$pki/mallory.crt" "$pki/mallory.key" unauthenticated
py "localhost:$port" "$pki/ca.crt" - - refused                               # no certificate
py "localhost:$port" "$pki/ca.crt" "$pki/eve.crt" "$pki/eve.key" refused     # right name, wrong CA
py "localhost:$port" "$pki/otherca.crt" "$pki/alice.crt" "$pki/alice.key" refused # the client does not trust us

# ---- what openssl's own client can do
tls() { timeout 10 openssl s_client -connect "127.0.0.1:$port" -CAfile "$pki/ca.crt" -cert "$pki/alice.crt" -key "$pki/alice.key" \
    "$@" </dev/null 2>&1; }
tls -alpn h2 -tls1_3 | grep -q 'ALPN protocol: h2' || fail "TLS 1.3 with h2"
tls -alpn h2 -tls1_2 | grep -q 'ALPN protocol: h2' || fail "TLS 1.2 with h2"
tls -alpn h2 -tls1_1 | grep -q 'ALPN protocol: h2' && fail "TLS 1.1 was taken"
tls -alpn http/1.1 | grep -q 'ALPN protocol: http' && fail "http/1.1 was taken"
head -c 100000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/127.0.0.1/$port" 2>/dev/null # not TLS at all
run ps
expect "after TLS nonsense" 0 'NAME*'

# ---- vmctl gets the reason back
run logs nosuch
expect "vmctl's error" 125 '' '*nosuch*'

# ---- buf, by reflection
buf=$BUILD/npm/node_modules/.bin/buf
if [ ! -x "$buf" ] && command -v npm >/dev/null; then
    mkdir -p "$BUILD/npm"
    (cd "$BUILD/npm" && timeout 90 npm install --no-audit --no-fund @bufbuild/buf >"$dir/npm" 2>&1) || {
        fail "npm install @bufbuild/buf"
        tail -n 5 "$dir/npm"
    }
fi
b() { # ARGS: buf curl over the Unix socket
    timeout -s KILL 30 "$buf" curl --protocol grpc --http2-prior-knowledge --unix-socket "$VMD_SOCKET" "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    out=$(cat "$dir/out")
    err=$(cat "$dir/err")
}
if [ -x "$buf" ]; then
    for version in grpc-v1 grpc-v1alpha; do
        b --reflect-protocol $version --list-methods http://localhost
        expect "buf lists methods ($version)" 0 '*vmd.v1.GuestService/CreateGuest*'
    done
    b http://localhost/vmd.v1.DaemonService/GetDaemon
    expect "buf calls" 0 '*"version"*'
    b -d '{"name":"nosuch"}' http://localhost/vmd.v1.GuestService/GetGuest
    expect "buf's error" 40 '' '*not_found*google.rpc.ErrorInfo*' # 8 times the code
    b -d '{"name":7}' http://localhost/vmd.v1.GuestService/GetGuest
    [ $code != 0 ] || fail "buf did not know the type of name"
    b -d '{"service":"vmd.v1.GuestService"}' http://localhost/grpc.health.v1.Health/Check
    expect "buf asks for health" 0 '*SERVING*'
    b -d '{"name":"b1","image":"fake","args":["exit","3"]}' http://localhost/vmd.v1.GuestService/CreateGuest
    expect "buf creates a guest" 0 '*"b1"*'
    b -d '{"open":{"name":"b1","start":true}}' http://localhost/vmd.v1.GuestService/AttachGuest # a stream both ways
    expect "buf attaches" 0 '*ended*'
    timeout -s KILL 30 "$buf" curl --protocol grpc --cacert "$pki/ca.crt" --cert "$pki/alice.crt" --key "$pki/alice.key" \
        "https://localhost:$port/vmd.v1.DaemonService/GetDaemon" >"$dir/out" 2>"$dir/err"
    grep -q version "$dir/out" || fail "buf over TLS ($(cat "$dir/err"))"
else
    say "skipped: buf (there is no npm)"
fi

# ---- draining is seen by those who watch
$python "$here/grpc_client.py" "unix:$VMD_SOCKET" drain >"$dir/drain" 2>&1 &
watcher=$!
eventually grep -q READY "$dir/drain" || fail "the watcher did not start ($(cat "$dir/drain"))"
stop_daemon
wait $watcher || fail "NOT_SERVING was not seen ($(cat "$dir/drain"))"

# ---- half-open connections are closed in time: neither a handshake nor a preface comes
start_daemon --limit handshake_ms=300 --limit tenant_connections=20 --listen tcp+tls://127.0.0.1:0 --tls-cert "$pki/server.crt" --tls-key "$pki/server.key" \
    --tls-ca "$pki/ca.crt"
port=$(sed -n 's|.*listening on tcp+tls://127.0.0.1:||p' "$dir/log" | tail -n 1)
timeout 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; cat <&3" >/dev/null
[ $? -lt 124 ] || fail "a connection without a handshake stayed"
timeout 10 $python -c "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect('$VMD_SOCKET')
s.sendall(b'PRI * HTTP/2.0')
while s.recv(4096): pass
" || fail "half a preface stayed"

py "unix:$VMD_SOCKET" crowd

# ---- a wrong certificate stops the daemon from starting, and says why
"$bin/vmd" --socket "$dir/run/second.sock" --state "$dir/second" --listen tcp+tls://127.0.0.1:0 --tls-cert "$pki/server.crt" \
    --tls-key "$pki/alice.key" --tls-ca "$pki/ca.crt" >"$dir/out" 2>&1 && fail "a daemon started with a key that is not its own"
grep -q "alice.key" "$dir/out" || fail "the key was not named: $(cat "$dir/out")"

# ---- systemd: sockets that are there already, and a word when ready
stop_daemon
cat >"$dir/activate.py" <<'PY'
"""activate.py VMD ARGS...: starts VMD as systemd does, with a Unix socket as descriptor 3."""
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
path = os.environ["VMD_SOCKET"] + ".systemd"
s.bind(path)
s.listen(16)
if s.fileno() != 3:
    os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
PY
$python - "$dir/notify" >"$dir/notified" 2>&1 <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(30)
while True:
    state = s.recv(4096).decode()
    print(state, flush=True)
    if "STOPPING=1" in state:
        break
PY
listener=$!
eventually test -S "$dir/notify"
NOTIFY_SOCKET=$dir/notify $python "$dir/activate.py" "$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" --worker "$stub" 2>>"$dir/log" &
daemon=$!
eventually grep -q READY=1 "$dir/notified" || fail "no READY=1"
eventually env "VMD_SOCKET=$VMD_SOCKET.systemd" "$vmctl" ps || fail "the socket of systemd does not answer"
[ ! -e "$VMD_SOCKET" ] || fail "a socket of its own was made beside systemd's"
stop_daemon
wait $listener || fail "no STOPPING=1 ($(cat "$dir/notified"))"
[ -e "$VMD_SOCKET.systemd" ] || fail "the socket of systemd was removed"
finish
