#!/bin/sh
# run.sh [--quick] - install what is missing, build everything, run every test. CI runs this file and nothing else.
#
#   release   build/       -O2, gcc: all tests (ctest)
#   asan      build-asan/  AddressSanitizer and UBSan: unit tests, fuzz corpora, guests and system tests
#   tsan      build-tsan/  ThreadSanitizer: unit tests and guests, these with the interpreter
#   clang     build-clang/ every warning of clang, unoptimized
#
# ctest labels: lint, fuzz, guest; no-asan and no-tsan keep a test out of a sanitizer's run.
# --quick: release only. A step that fails does not stop the next; the end says which failed. JOBS=n: parallel jobs.
set -eu
cd "$(dirname "$0")/.."

quick=no
for arg; do
    case $arg in
    --quick) quick=yes ;;
    *) echo "usage: run.sh [--quick]" >&2; exit 2 ;;
    esac
done

jobs=${JOBS:-$(nproc)}
failed=
begin=$(date +%s)
step() { printf '\n==== %s  (%s s)\n' "$*" "$(($(date +%s) - begin))"; }
fail() { failed="$failed $1"; echo "==== $1 FAILED"; }

step "packages"
sh packaging/install-deps.sh test

launcher=
if command -v ccache >/dev/null; then
    launcher=-DCMAKE_C_COMPILER_LAUNCHER=ccache
fi
# build FOLDER cmake-options...: configure and build, quiet but for trouble
build() {
    dir=$1
    shift
    cmake -S . -B "$dir" -G Ninja -DVV_TESTS=ON $launcher "$@" >"$dir.log" 2>&1 &&
        cmake --build "$dir" -j "$jobs" >>"$dir.log" 2>&1 && rm -f "$dir.log" && return 0
    tail -n 60 "$dir.log"
    return 1
}
tests() {
    dir=$1
    shift
    ctest --test-dir "$dir" -j "$jobs" --output-on-failure --no-tests=error --timeout 300 "$@"
}

step "release: build"
if build build -DCMAKE_BUILD_TYPE=Release; then
    step "release: tests"
    tests build || fail release
else
    fail release-build
fi

if [ $quick = no ]; then
    # The engine's own SIGSEGV handler must stay the last word; leaks are reported, stacks stay where they are.
    ASAN_OPTIONS=allow_user_segv_handler=1:handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0:abort_on_error=1
    UBSAN_OPTIONS=print_stacktrace=1
    TSAN_OPTIONS=handle_segv=0:allow_user_segv_handler=1:second_deadlock_stack=1:halt_on_error=1
    export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

    # With a sanitizer's code in between, gcc guesses ranges wrongly; the release and clang builds are the ones that warn.
    doubtful='-Wno-error=format-truncation -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow -Wno-error=array-bounds'

    step "asan: build"
    if build build-asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="$doubtful" \
        -DCMAKE_C_FLAGS_DEBUG='-O1 -g' -DVV_SANITIZE=address,undefined; then
        step "asan: tests"
        tests build-asan -LE 'lint|no-asan' || fail asan
    else
        fail asan-build
    fi

    step "tsan: build"
    if build build-tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="$doubtful" \
        -DCMAKE_C_FLAGS_DEBUG='-O1 -g' -DVV_SANITIZE=thread; then
        step "tsan: tests"
        # rooms that know no threads are left out, and guests of one thread that only compute
        tests build-tsan -R '^(unit|vm|guest)/' \
            -E '^unit/engine/(isa|ir|host|image|guest|virtualizability)/|^unit/(proto|client)/|^guest/(bench-|busybox-long)' -LE no-tsan ||
            fail tsan
    else
        fail tsan-build
    fi

    step "clang: build"
    build build-clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DCMAKE_C_COMPILER=clang || fail clang-build
fi

step "done"
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "everything passed"
