#!/bin/bash
# vmctl against what the whole daemon serves: any method by reflection, and mutual TLS.
. "$(dirname "$0")/lib.sh"
fake_image
export XDG_CONFIG_HOME=$dir/config
if ! "$bin/vmd" --help | grep -q -- --listen; then
    say "this daemon listens on a Unix socket only: not tested"
    exit 0
fi

pki=$dir/pki
mkdir -p "$pki"
ca() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$pki/$1.key" \
        -out "$pki/$1.crt" 2>/dev/null
}
sign() { # NAME CA SAN
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$pki/$1.key" \
        -out "$pki/$1.csr" 2>/dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/$2.crt" -CAkey "$pki/$2.key" -CAcreateserial -days 2 \
        -extfile <(printf 'subjectAltName=%s' "$3") -out "$pki/$1.crt" 2>/dev/null
}
ca ca
ca otherca
sign server ca DNS:localhost
sign alice ca DNS:alice.example
sign eve otherca DNS:alice.example
start_daemon --listen tcp+tls://127.0.0.1:0 --tls-cert "$pki/server.crt" --tls-key "$pki/server.key" --tls-ca "$pki/ca.crt" \
    --tls-name alice
port=$(sed -n 's|.*listening on tcp+tls://127.0.0.1:||p' "$dir/log" | head -n 1)
[ -n "$port" ] || fail "no TCP port in the log"

# ---- mutual TLS
run context add lab "tcp+tls://localhost:$port" --tls-ca "$pki/ca.crt" --tls-cert "$pki/alice.crt" --tls-key "$pki/alice.key"
expect "context add" 0 ""
lab() { run --context lab "$@"; }
lab run --image fake echo over TLS
expect "a program over TLS" 0 "over TLS"
head -c 3000000 /dev/urandom >"$dir/big"
"$vmctl" --context lab run --image fake cat <"$dir/big" | cmp - "$dir/big" || fail "3 MB there and back over TLS"
lab --tls-ca "$pki/otherca.crt" ps
expect "a daemon that we do not trust" 125 "" "*TLS with localhost:$port: *certificate*"
lab --tls-cert "$pki/eve.crt" --tls-key "$pki/eve.key" ps
expect "a daemon that does not trust us" 125 "" "*alert*"
lab --tls-key "$pki/eve.key" ps
expect "a key of another certificate" 125 "" "*key $pki/eve.key: *"
lab -H "tcp+tls://127.0.0.1:$port" ps
expect "a name that is not the certificate's" 125 "" "*TLS with 127.0.0.1:$port: *mismatch*"

# ---- any method
run api --list
expect "methods" 0 '*vmd.v1.GuestService/WatchStats (vmd.v1.WatchStatsRequest) -> stream vmd.v1.WatchStatsResponse*'
run api GetDaemon
expect "a short name" 0 '{*"version": "*"pid": *}'
run api grpc.health.v1.Health/Check '{"service": ""}'
expect "one of gRPC's own" 0 '*"status": "SERVING"*'
run api CreateGuest '{"name": "made", "image": "fake", "args": ["cat"], "limits": {"memoryBytes": "67108864"}}'
expect "create" 0 '*"name": "made"*"state": "GUEST_STATE_CREATED"*'
printf '%s' '{"open": {"name": "made", "start": true, "stdin": true}} {"stdin": "aGVsbG8K"}
    {"stdinEof": true}' | timeout 20 "$vmctl" api AttachGuest - >"$dir/out" || fail "a stream both ways"
grep -q '"output":{.*"data":"aGVsbG8K"' "$dir/out" || fail "a stream's output: $(cat "$dir/out")"
tail -n 1 "$dir/out" | grep -q '^{"ended":{"name":"made"' || fail "a stream's end: $(cat "$dir/out")"
run api GetGuest '{"nmae": "made"}'
expect "a field that is not there" 125 "" '*vmd.v1.GetGuestRequest has no field "nmae"; did you mean "name"?*'
run api GetGuest '{"name": "made"'
expect "no JSON" 125 "" '*the request, column *'
run api GetGuest '{"name": "nosuch"}'
expect "the daemon's own refusal" 125 "" '*no guest "nosuch"*'
run api GetGeust
expect "a typo" 125 "" '*no method GetGeust; did you mean GetGuest?*'
run api grpc.health.v1.Health/Watch '{}' --timeout 0.3
expect "a deadline" 124 '{"status":"SERVING"}' '*deadline*'

finish
