#!/bin/bash
# rpc.sh BUILD [SECONDS] - the control plane's figures over the Unix socket, with the stub worker. Prints one line for each:
#   h2load  unary calls (GetDaemon) per second and their p99, from h2load's log   wanted: >= 15,000/s, p99 <= 2 ms
#   idle    10,000 idle connections beside 200 calls/s for SECONDS (300)           wanted: no failure, <= 20 KiB of Pss each
#   readers 1,000 console readers that never read, beside a guest that floods      wanted: memory bounded, p99 within 2x of without
set -eu
build=${1:?usage: rpc.sh BUILD [SECONDS]}
seconds=${2:-300}
dir=$(mktemp -d)
socket=$dir/run/vmd.sock
export VMD_SOCKET=$socket
mkdir -p "$dir/state/images"
chmod 700 "$dir/state" "$dir/state/images"
digest=sha256-$(printf fake | sha256sum | cut -d' ' -f1)
printf fake >"$dir/state/images/$digest.erofs"
printf 'vmd image names 1\nfake %s\n' "$digest" >"$dir/state/images/names"
ulimit -n "$(ulimit -Hn)"
"$build/bin/vmd" --socket "$socket" --state "$dir/state" --worker "$build/tests/bin/vmd-worker-stub" 2>"$dir/log" &
daemon=$!
trap 'kill $daemon 2>/dev/null; wait $daemon 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do
    "$build/bin/vmctl" ps >/dev/null 2>&1 && break
    sleep 0.05
done

printf '\0\0\0\0\0' >"$dir/empty" # an empty message in gRPC's frame
load() { # CONNECTIONS STREAMS CALLS
    rm -f "$dir/h2.log"
    h2load -n "$3" -c "$1" -m "$2" -d "$dir/empty" -H 'content-type: application/grpc' -H 'te: trailers' --log-file="$dir/h2.log" \
        --base-uri "unix:$socket" http://localhost/vmd.v1.DaemonService/GetDaemon >"$dir/h2.out"
    rate=$(sed -n 's|^finished in [^,]*, \([0-9.]*\) req/s.*|\1|p' "$dir/h2.out")
    bad=$(sed -n 's|^requests:.* \([0-9]*\) failed.*|\1|p' "$dir/h2.out")
    sort -n -k3 "$dir/h2.log" | awk -v rate="$rate" -v bad="$bad" -v c="$1" -v m="$2" '{ us[NR] = $3 }
        END { printf "h2load connections %d streams %d calls %d failed %d per_second %.0f p50_us %d p99_us %d max_us %d\n",
            c, m, NR, bad, rate, us[int((NR + 1) / 2)], us[int(NR * 0.99)], us[NR] }'
}
load 1 1 100000
load 1 16 200000
load 8 4 200000

"$build/tests/bench/rpc_idle" "$socket" 10000 200 "$seconds" | sed 's/^/idle    /'

"$build/bin/vmctl" run -d --name flood --image fake flood 1000000000000 >/dev/null 2>&1 || true
"$build/tests/bench/rpc_idle" "$socket" 0 200 10 | sed 's/^/flood   /'
"$build/tests/bench/rpc_idle" "$socket" 1000 200 10 flood | sed 's/^/readers /'
