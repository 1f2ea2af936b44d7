#!/bin/sh
# busybox.sh OUT MKIMAGE - what the tests guest/busybox-* need, into the folder OUT: busybox.img, an image of Debian's riscv64
# busybox with the scripts of busybox/ in /t, and for each script its reference: busybox/<name>.expect, or what the same
# version of busybox, built for this machine, prints (under qemu-riscv64 a busybox cannot execute itself).
set -eu

out=$1
mkimage=$2
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vivarium

for arch in riscv64 amd64; do
    sh "$here/../../packaging/fetch-busybox.sh" "$cache/busybox-$arch" $arch
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp -a "$cache/busybox-riscv64" "$tmp/root"
mkdir "$tmp/root/t"
cp "$here"/busybox/*.sh "$tmp/root/t"
"$mkimage" "$tmp/root" "$out/busybox.img"

native=$cache/busybox-amd64/bin
for script in "$here"/busybox/*.sh; do
    name=$(basename "$script" .sh)
    if [ -f "$here/busybox/$name.expect" ]; then
        cp "$here/busybox/$name.expect" "$out/busybox-$name.ref"
    else
        sh "$here/compare.sh" native "$here" "busybox-$name" "$out/busybox-$name.ref" \
            env -i PATH="$native" HOME=/ "$native/sh" "$script" 2>/dev/null
    fi
done
