#!/bin/sh
# demo.sh - from a clean checkout to a shell pipeline in a RISC-V guest. Debian 12, root or an ordinary user with sudo.
#
# Installs what is missing, builds, starts vmd for this user if it does not run, makes an image of Debian's riscv64
# busybox, runs it, cleans up after itself. What it leaves: build/bin, the daemon, the image.
set -eu
cd "$(dirname "$0")/.."

case $(uname -sm) in
"Linux x86_64") ;;
*) echo "demo: Vivarium needs Linux on x86-64, this is $(uname -sm)" >&2; exit 1 ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/vivarium
rootfs=$cache/busybox-riscv64
vmctl=build/bin/vmctl
guest=demo-$$

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }
# show COMMAND...: print it as one would type it, then run it
show() {
    line='$'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=-]*) line="$line '$word'" ;;
        *) line="$line $word" ;;
        esac
    done
    printf '%s\n' "$line"
    "$@"
}
# expect WANTED COMMAND...: show it, and hold its output to what it must be
expect() {
    wanted=$1
    shift
    got=$(show "$@") || die "that command failed with exit code $?"
    printf '%s\n' "$got"
    [ "$(printf '%s\n' "$got" | tail -n +2)" = "$wanted" ] || die "wanted: $wanted"
}

sh packaging/install-deps.sh build

if [ ! -f build/build.ninja ]; then
    say "Building"
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DVV_TESTS=OFF >/dev/null
fi
cmake --build build --target vmd vmd-worker vmd-import vmctl -- --quiet
exec </dev/null # vmctl run passes standard input on

if ! $vmctl ps >/dev/null 2>&1; then
    say "Starting vmd"
    show build/bin/vmd --daemonize
fi

if [ ! -e "$rootfs" ]; then
    say "Fetching Debian's riscv64 busybox"
    sh packaging/fetch-busybox.sh "$rootfs"
fi

say "An image"
show $vmctl image import "$rootfs" --name busybox
show $vmctl image ls

say "A RISC-V program"
expect riscv64 $vmctl run --rm --image busybox -- uname -m

say "A shell, a pipeline, a background job"
expect 2432902008176640000 $vmctl run --rm --image busybox -- sh -c \
    'i=1; seq 20 | { while read n; do i=$((i * n)); done; echo $i; }'
expect 'first
second' $vmctl run --rm --image busybox -- sh -c '(sleep 0.2; echo second) & echo first; wait'

say "Standard input, and an exit code that comes through"
echo 'hello from outside' | expect 'HELLO FROM OUTSIDE' $vmctl run --rm --image busybox -- tr a-z A-Z
code=0
show $vmctl run --rm --image busybox -- sh -c 'exit 42' || code=$?
echo "exit code $code"
[ $code -eq 42 ] || die "wanted exit code 42"

say "A guest in the background"
trap '$vmctl rm -f $guest >/dev/null 2>&1 || :' EXIT
show $vmctl run -d --name $guest --image busybox -- sh -c 'while :; do date; sleep 1; done'
show $vmctl ps
sleep 1.2
show $vmctl logs $guest
show $vmctl stop --grace 1 $guest
show $vmctl ps -a
show $vmctl rm $guest
trap - EXIT

say "What to type next"
cat <<TXT
  export PATH=$PWD/build/bin:\$PATH
  vmctl run -t --image busybox -- sh          an interactive shell, with job control; leave it with exit
  vmctl run --image busybox -- ls -l /proc    what a guest sees
  vmctl ps -a                                 guests, and how they ended
  vmctl help                                  what else there is
  sh tests/run.sh                             build and run every test
TXT
