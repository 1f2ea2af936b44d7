#!/bin/bash
# vmctl against what the whole daemon serves: any method by reflection, mutual TLS, and the commands about a running guest.
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

# ---- a running guest's life; not before the daemon has it
"$vmctl" run -d --image fake --name live spin >/dev/null
run pause live
case $err in
*"no such method"*) say "this daemon does not pause: the rest is not tested" ;;
*)
    expect "pause" 0 ""
    run ps
    expect "paused" 0 '*live *paused*'
    run pause live
    expect "twice" 125 "" '*live*'
    run resume live
    expect "resume" 0 ""
    run rename live lively
    expect "rename" 0 ""
    run ps -q
    expect "its new name" 0 "lively"
    run stats --no-stream lively
    expect "stats" 0 'NAME*CPU%*lively *'
    run stats --no-stream -o json
    expect "stats as JSON" 0 '*"guest": {*"name": "lively"*"cpu": *'
    timeout 20 "$vmctl" events -f --type guest-ended -o jsonl >"$dir/events" &
    watcher=$!
    sleep 0.3
    run kill lively
    expect "kill" 0 ""
    eventually grep -q '"type":"EVENT_TYPE_GUEST_ENDED".*"subject":"lively"' "$dir/events" || fail "events -f: $(cat "$dir/events")"
    kill $watcher
    run events
    expect "events" 0 '*guest-created *live*guest-paused*guest-resumed*guest-renamed*lively*guest-ended*'
    cursor=$("$vmctl" events -o json | sed -n 's/.*"cursor": "\(.*\)".*/\1/p' | tail -n 2 | head -n 1)
    run events --since "$cursor" -o name
    expect "events behind a cursor" 0 "?*"
    [ "$(printf '%s\n' "$out" | wc -l)" = 1 ] || fail "one event behind the last but one: $out"
    run tenants
    expect "tenants" 0 'TENANT*GUESTS*MEMORY*you*'
    ;;
esac
"$vmctl" rm -f live lively >/dev/null 2>&1
finish
