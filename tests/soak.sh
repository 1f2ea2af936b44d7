#!/bin/sh
# soak.sh [COUNT] - COUNT (default 1,000,000) random programs, interpreter against translator, split over the modes: plain, 4 GiB
# window, no chaining, one-instruction blocks, a 64 KiB cache of 8 KiB arenas, exact counting, a cold start, and each host
# feature masked off alone and all together. Then every plant must be found. Prints a seed; SEED=n repeats a run.
# VVRANDOM: the program (build/tests/random/vvrandom); JOBS: how many at a time (all processors).
set -eu
cd "$(dirname "$0")/.."
count=${1:-1000000}
seed=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
jobs=${JOBS:-$(nproc)}
vvrandom=${VVRANDOM:-build/tests/random/vvrandom}
if [ ! -x "$vvrandom" ]; then
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
    cmake --build build --target vvrandom >/dev/null
fi
begin=$(date +%s)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# The numbers are those of enum host_feature (engine/host/host.h).
cat >"$logs/modes" <<'MODES'
plain
window-32 --window 32
no-chain --no-chain
one-instruction-blocks --insns-max 1
tiny-cache --cache 65536 --arena 8192
tiny-cache-no-chain-32 --cache 65536 --arena 8192 --no-chain --window 32
counting --count-insns
cold --threshold 3
without-avx512 --features-off 8
without-fma --features-off 2
without-bmi2 --features-off 4
without-bmi1-lzcnt --features-off 48
without-fsgsbase --features-off 64
without-avx512-fma --features-off 10
without-avx --features-off 11
without-all --features-off 127
without-all-32-tiny --features-off 127 --window 32 --cache 65536 --arena 8192
MODES
modes=$(wc -l <"$logs/modes")
each=$((count / modes + 1))
echo "soak: $count programs in $modes modes, seed $seed, $jobs at a time"

# one NUMBER NAME OPTIONS...
one() {
    number=$1 name=$2
    shift 2
    if "$vvrandom" --count "$each" --seed "$((seed + number * 1000003))" "$@" >"$logs/$name.log" 2>&1; then
        echo "$name: $(grep '^no difference' "$logs/$name.log")"
    else
        echo "$name: FAILED"
        cat "$logs/$name.log"
        : >"$logs/failed"
    fi
}
running=0 number=0
while read -r name options; do
    number=$((number + 1))
    # shellcheck disable=SC2086
    one "$number" "$name" $options &
    running=$((running + 1))
    if [ "$running" -ge "$jobs" ]; then
        wait
        running=0
    fi
done <"$logs/modes"
wait

for plant in 0 1 2 3 4 5 6 7; do
    if ! "$vvrandom" --count 20000 --seed "$seed" --plant $plant >"$logs/plant.log" 2>&1; then
        echo "plant $plant was not found"
        : >"$logs/failed"
    fi
done
echo "soak: $(($(date +%s) - begin)) s"
[ ! -e "$logs/failed" ]
