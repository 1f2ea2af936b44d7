#!/bin/bash
# The Debian package: what is in it, what it needs, that it is the same each time. packaging/test-deb.sh installs it in a fresh Debian.
. "$(dirname "$0")/lib.sh"
top=$(realpath "$(dirname "$0")/../..")
: >"$dir/log"
if ! command -v dpkg-shlibdeps >/dev/null; then
    say "skipped: dpkg-dev is not here"
    finish
fi
export SOURCE_DATE_EPOCH=1700000000
(umask 077 && BUILD=$BUILD sh "$top/packaging/build-deb.sh" "$dir/one") >"$dir/out" 2>"$dir/err" || fail "it builds: $(cat "$dir/err")"
deb=$(cat "$dir/out")
BUILD=$BUILD sh "$top/packaging/build-deb.sh" "$dir/two" >/dev/null 2>"$dir/err" || fail "it builds again: $(cat "$dir/err")"
cmp "$deb" "$dir/two/$(basename "$deb")" || fail "two builds are one package"
mkdir "$dir/x" && dpkg-deb -R "$deb" "$dir/x" || fail "it can be unpacked"
cd "$dir/x" || exit 1
for file in usr/bin/vmctl usr/lib/vivarium/vmd usr/lib/vivarium/vmd-worker usr/lib/vivarium/vmd-import usr/sbin/vmd DEBIAN/postinst \
    DEBIAN/prerm DEBIAN/postrm; do
    [ -x $file ] || fail "$file is a program"
done
for file in etc/vmd/vmd.yaml usr/lib/systemd/system/vmd.service usr/lib/systemd/system/vmd.socket usr/lib/systemd/user/vmd.service \
    usr/lib/systemd/user/vmd.socket usr/lib/sysusers.d/vmd.conf usr/lib/tmpfiles.d/vmd.conf usr/share/man/man5/vmd.yaml.5.gz \
    usr/share/man/man8/vmd.8.gz usr/share/doc/vivarium/copyright usr/share/doc/vivarium/changelog.Debian.gz; do
    [ -f $file ] || fail "$file is there"
done
if "$vmctl" completion bash >/dev/null 2>&1; then
    for file in usr/share/bash-completion/completions/vmctl usr/share/zsh/vendor-completions/_vmctl \
        usr/share/fish/vendor_completions.d/vmctl.fish usr/share/man/man1/vmctl.1.gz; do
        [ -s $file ] || fail "$file is there"
    done
fi
[ "$(readlink usr/sbin/vmd)" = ../lib/vivarium/vmd ] || fail "vmd has a name in sbin"
[ "$(cat DEBIAN/conffiles)" = /etc/vmd/vmd.yaml ] || fail "the configuration is a conffile"
md5sum -c --quiet DEBIAN/md5sums || fail "md5sums are right"
find . -type f ! -path './DEBIAN/*' | wc -l | grep -qx "$(wc -l <DEBIAN/md5sums)" || fail "md5sums name every file"
[ -z "$(find . -perm /022 ! -type l)" ] || fail "others can write: $(find . -perm /022 ! -type l)"
[ -z "$(find . ! -perm -044 ! -type l)" ] || fail "others cannot read: $(find . ! -perm -044 ! -type l)"
grep -q '^Depends: .*libc6.*libuv1.*libyaml-0-2' DEBIAN/control || fail "what it depends on: $(grep Depends DEBIAN/control)"
for script in DEBIAN/postinst DEBIAN/prerm DEBIAN/postrm; do
    sh -n $script || fail "$script has no syntax"
done
for exec in $(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' usr/lib/systemd/*/vmd.service); do
    [ -x ".$exec" ] || fail "a unit starts $exec, which is not there"
done
"$dir/x/usr/lib/vivarium/vmd" -t --config "$dir/x/etc/vmd/vmd.yaml" >"$dir/out" 2>&1 || fail "its configuration: $(cat "$dir/out")"
cd "$dir" || exit 1
finish
