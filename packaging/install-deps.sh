#!/bin/sh
# install-deps.sh build|test - install the Debian 12 packages that building (or building and testing) needs.
# Asks dpkg first: where all is there, apt is not started and no right is needed. Else root, or sudo.
set -eu

build='gcc libc6-dev cmake ninja-build pkgconf libuv1-dev libprotobuf-c-dev protobuf-c-compiler
    libnghttp2-dev libssl-dev uthash-dev grpc-proto libprotobuf-dev libyaml-dev libseccomp-dev libarchive-dev libjansson-dev
    debian-archive-keyring'
test='libcmocka-dev qemu-user gcc-riscv64-linux-gnu libc6-dev-riscv64-cross erofs-utils clang libclang-rt-14-dev ccache
    strace procps python3-grpcio openssl nghttp2-client curl python3-minimal dpkg-dev debootstrap
    zstd xz-utils python3 tar attr groff zsh fish z3'

# a reflection client comes from npm; where there is one already (of another origin), Debian's is not wanted
command -v npm >/dev/null || test="$test npm"

case ${1:-} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*) echo "usage: install-deps.sh build|test" >&2; exit 2 ;;
esac

missing=
for p in $wanted; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :) in
    *installed) ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0

echo "installing:$missing" >&2
if [ "$(id -u)" -eq 0 ]; then
    sudo=
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    echo "install-deps: not root, and there is no sudo. As root, run:" >&2
    echo "  apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"; }
apt update
# $missing is a list of words
apt install -y --no-install-recommends $missing >/dev/null
