#!/bin/sh
# soak.sh [COUNT] - COUNT (default 1,000,000) random programs, interpreter against translator, split over the modes: plain, 4 GiB
# window, no chaining, one-instruction blocks, a 64 KiB cache of 8 KiB arenas, exact counting, a cold start, and each host
# feature masked off alone and all together. Then 10,000 others on both against qemu-riscv64 (100 more, since a few are dropped),
# and every plant must be found. Prints a seed; SEED=n repeats a run. BUILD: the build folder (build). JOBS: how many at a
# time (all processors).
set -eu

# job NUMBER NAME OPTIONS...: one line of the list below, in a process of its own; its line of the summary goes to NUMBER.line.
if [ "${1:-}" = --job ]; then
    number=$2 name=$3
    shift 3
    log=$SOAK_LOGS/$number.log
    case $name in
    qemu) program=$BUILD/tests/qemu/test_sequences ;;
    *) program=$BUILD/tests/random/vvrandom ;;
    esac
    begin=$(date +%s)
    if "$program" "$@" >"$log" 2>&1; then
        case $name in
        plant-*) result="found: $(sed -n 's/^planted: //p' "$log")" ;;
        *) result=$(grep '^no difference' "$log" | sed 's/;[^;]*$//') ;;
        esac
    else
        result="FAILED: $program $*"
        : >"$SOAK_LOGS/$number.failed"
    fi
    printf '  %-24s %4d s  %s\n' "$name" "$(($(date +%s) - begin))" "$result" >"$SOAK_LOGS/$number.line"
    exit 0
fi

cd "$(dirname "$0")/.."
count=${1:-1000000}
seed=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
jobs=${JOBS:-$(nproc)}
BUILD=${BUILD:-build}
if [ ! -x "$BUILD/tests/random/vvrandom" ] || [ ! -x "$BUILD/tests/qemu/test_sequences" ]; then
    cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
    cmake --build "$BUILD" --target vvrandom test_sequences >/dev/null
fi
begin=$(date +%s)
SOAK_LOGS=$(mktemp -d)
export BUILD SOAK_LOGS
trap 'rm -rf "$SOAK_LOGS"' EXIT
trap 'exit 130' INT TERM

# The numbers are those of enum host_feature (engine/host/host.h). The slow ones come first, so that the processors end together.
cat >"$SOAK_LOGS/modes" <<'MODES'
one-instruction-blocks --insns-max 1
tiny-cache-no-chain-32 --cache 65536 --arena 8192 --no-chain --window 32
without-all-32-tiny --features-off 127 --window 32 --cache 65536 --arena 8192
tiny-cache --cache 65536 --arena 8192
no-chain --no-chain
without-all --features-off 127
without-avx --features-off 11
without-avx512-fma --features-off 10
without-avx512 --features-off 8
without-fma --features-off 2
without-bmi2 --features-off 4
without-bmi1-lzcnt --features-off 48
without-fsgsbase --features-off 64
window-32 --window 32
counting --count-insns
plain
cold --threshold 3
MODES
modes=$(wc -l <"$SOAK_LOGS/modes")
each=$((count / modes + 1))
echo "soak: $count programs in $modes modes and 10100 against qemu-riscv64, seed $seed, $jobs at a time"

{
    number=100 # so that names sort
    while read -r name options; do
        number=$((number + 1))
        # shellcheck disable=SC2086
        echo "$number" "$name" --count "$each" --seed $((seed + (number - 100) * 1000003)) $options
    done <"$SOAK_LOGS/modes"
    echo "200 qemu --count 10100 --seed $seed $BUILD/tests/qemu/sequence_judge"
    for plant in 0 1 2 3 4 5 6 7; do
        echo "30$plant plant-$plant --count 20000 --seed $seed --plant $plant"
    done
} >"$SOAK_LOGS/list"
xargs -P "$jobs" -L 1 sh tests/soak.sh --job <"$SOAK_LOGS/list"

cat "$SOAK_LOGS"/*.line
lines=$(cat "$SOAK_LOGS"/*.line | wc -l)
jobs_count=$(wc -l <"$SOAK_LOGS/list")
seconds=$(($(date +%s) - begin))
if ls "$SOAK_LOGS"/*.failed >/dev/null 2>&1; then
    count_failed=0
    for failed in "$SOAK_LOGS"/*.failed; do
        count_failed=$((count_failed + 1))
        echo "==== $(cat "${failed%.failed}.line")"
        tail -n 60 "${failed%.failed}.log"
    done
    echo "soak: FAILED: $count_failed of $jobs_count; seed $seed, $seconds s"
    exit 1
fi
compared=$(sed -n 's/^no difference: \([0-9]*\) programs.*/\1/p' "$SOAK_LOGS/200.log")
[ "$lines" = "$jobs_count" ] || { echo "soak: FAILED: not everything ran"; exit 1; }
echo "soak: no difference in $((each * modes)) programs in $modes modes, nor in $compared against qemu-riscv64; every plant found; $seconds s"
