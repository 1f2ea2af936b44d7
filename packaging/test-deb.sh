#!/bin/sh
# test-deb.sh DEB - install the package in a fresh Debian 12 and use it there as an ordinary user: vmctl run starts vmd by itself and
# runs busybox. Then an upgrade that keeps the changed configuration, a removal, a purge.
#
# Needs root, debootstrap and the machine's Debian mirror. The bare system is made once and kept as
# ~/.cache/vivarium/bookworm.tar; everything else lives in a temporary folder and namespaces of its own.
set -eu
die() { echo "test-deb: $*" >&2; exit 1; }
say() { echo "test-deb: $*" >&2; }

[ $# -eq 1 ] && [ -f "$1" ] || { echo "usage: test-deb.sh DEB" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || die "needs root, for chroot"
deb=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vivarium
base=$cache/bookworm.tar

# In a mount and pid namespace of its own: when it ends, every mount and process goes.
if [ "${VV_INSIDE:-}" != yes ]; then
    work=$(mktemp -d "${TMPDIR:-/tmp}/vv-deb.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$cache"
    "$here/fetch-busybox.sh" "$cache/busybox-riscv64"
    if [ ! -f "$base" ]; then
        command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep '/debian/*$' | head -n 1)
        say "a bare Debian 12 from ${mirror:=http://deb.debian.org/debian}"
        debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; die "debootstrap failed"; }
        tar -C "$work/base" --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -cf "$base.new" .
        mv "$base.new" "$base"
    fi
    VV_INSIDE=yes VV_WORK=$work unshare --mount --pid --fork --kill-child sh "$0" "$deb" || exit 1
    exit 0
fi

root=$VV_WORK/root
mkdir "$root"
tar -C "$root" -xf "$base"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -m 1777 "$root/dev/shm"
mkdir "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || :
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp "$deb" "$root/root/vivarium.deb"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root "$@"; }
user() { chroot "$root" /usr/bin/env -i su -s /bin/sh - tester -c "$1"; }
# expect NAME WANTED COMMAND: as the user
expect() {
    got=$(user "$3" 2>"$VV_WORK/err") || die "$1: exit code $?: $(cat "$VV_WORK/err")"
    [ "$got" = "$2" ] || die "$1: \"$got\" instead of \"$2\""
    say "ok: $1"
}

say "installing"
inside apt-get -qq update || die "apt-get update failed"
inside apt-get -qq install --no-install-recommends /root/vivarium.deb >"$VV_WORK/log" 2>&1 || { tail -n 30 "$VV_WORK/log" >&2; die "it does not install"; }
inside getent passwd vmd >/dev/null || die "the daemon's user is missing"
[ "$(inside stat -c '%U %a' /var/lib/vmd)" = "vmd 700" ] || die "the state folder: $(inside stat -c '%U %a' /var/lib/vmd)"
inside sh -c '! dpkg --verify vivarium | grep .' || die "files differ from what the package says"
[ "$(inside vmd -t)" = "vmd: /etc/vmd/vmd.yaml: OK" ] || die "vmd -t"

inside useradd -m tester
cp -a "$cache/busybox-riscv64" "$root/home/tester/busybox"
inside chown -R tester: /home/tester/busybox
if ! inside vmctl run --help 2>&1 | grep -q autostart; then
    say "this vmctl does not start vmd by itself: it is started by hand"
    user "/usr/sbin/vmd --daemonize" || die "vmd does not start"
fi
user "vmctl image import busybox --name busybox" >/dev/null 2>"$VV_WORK/err" || die "import: $(cat "$VV_WORK/err")"
expect "a RISC-V program runs" riscv64 "vmctl run --rm --image busybox -- uname -m </dev/null"
expect "a pipeline" 5050 "vmctl run --rm --image busybox -- sh -c 'seq 100 | { s=0; while read n; do s=\$((s+n)); done; echo \$s; }' </dev/null"
expect "standard input" HELLO "echo hello | vmctl run --rm --image busybox -- tr a-z A-Z"
code=0
user "vmctl run --rm --image busybox -- sh -c 'exit 42' </dev/null" || code=$?
[ $code = 42 ] || die "exit code $code instead of 42"
[ -z "$(user 'vmctl ps -q')" ] || die "guests are left"
inside sh -c "kill \$(cat /proc/[0-9]*/stat 2>/dev/null | awk '\$2 == \"(vmd)\" { print \$1 }')"

say "upgrade, removal, purge"
echo '# mine' >>"$root/etc/vmd/vmd.yaml"
inside dpkg -i --force-confold /root/vivarium.deb >"$VV_WORK/log" 2>&1 || die "it does not install again: $(cat "$VV_WORK/log")"
tail -n 1 "$root/etc/vmd/vmd.yaml" | grep -q mine || die "a changed configuration was replaced"
inside dpkg -r vivarium >/dev/null 2>&1 || die "it cannot be removed"
[ -e "$root/etc/vmd/vmd.yaml" ] && [ -d "$root/var/lib/vmd" ] || die "a removal keeps configuration and state"
inside dpkg -P vivarium >/dev/null 2>&1 || die "it cannot be purged"
[ ! -e "$root/etc/vmd" ] && [ ! -e "$root/var/lib/vmd" ] && [ ! -e "$root/usr/lib/vivarium" ] || die "a purge leaves something"
say "passed"
