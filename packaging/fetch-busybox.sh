#!/bin/sh
# fetch-busybox.sh DIR [ARCH] - make DIR a small root file system of Debian's busybox-static, for riscv64 unless told otherwise
# (the tests compare with the same version built for this machine).
#
# The package comes from the trixie archive of the Debian mirror that this machine already uses, by apt with a
# private configuration (own sources, state and cache; the archive's signature is checked against Debian's
# keyring), and is only unpacked: nothing is installed and no maintainer script runs. DIR is made whole or not
# at all; if it is there already, nothing happens and no network is used. Needs no root.
set -eu

die() { echo "fetch-busybox: $*" >&2; exit 1; }

[ $# -eq 1 ] || [ $# -eq 2 ] || { echo "usage: fetch-busybox.sh DIR [ARCH]" >&2; exit 2; }
dir=$1
arch=${2:-riscv64}
[ ! -e "$dir/bin/busybox" ] || exit 0
[ ! -e "$dir" ] || die "$dir exists, but holds no bin/busybox: remove it and try again"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "$keyring is missing: apt-get install debian-archive-keyring"
parent=$(dirname "$dir")
mkdir -p "$parent"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/vv-busybox.XXXXXX")
new=$(mktemp -d "$parent/.busybox.XXXXXX")
trap 'chmod -R u+rwX "$tmp" "$new" 2>/dev/null || :; rm -rf "$tmp" "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$tmp" # apt, started by root, downloads as the user _apt

# The mirrors of Debian's main archive that this machine's own apt sources name, each once.
mirrors() {
    {
        apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null ||
            cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\)  *\([^ ]*\).*/\2 \3/p'
    } | awk '$1 ~ /^(https?|mirror|mirror\+[a-z]+|file|copy|tor\+https?):/ && $1 ~ /\/debian\/?$/ &&
             $2 !~ /security/ && !seen[$1]++ { print $1 }'
}

# apt with nothing of this machine's own but its proxy settings; $tmp/apt.conf is read last, so it wins.
private_apt() { apt-get -q -c "$tmp/apt.conf" "$@"; }

fetch_from() {
    rm -rf "$tmp/apt"
    mkdir -p "$tmp/apt/state/lists/partial" "$tmp/apt/cache/archives/partial" "$tmp/apt/empty" "$tmp/deb"
    : >"$tmp/apt/status"
    : >"$tmp/apt/none"
    echo "deb [arch=$arch signed-by=$keyring] $1 trixie main" >"$tmp/apt/sources.list"
    cat >"$tmp/apt.conf" <<CONF
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "2";
Dir::State "$tmp/apt/state";
Dir::State::status "$tmp/apt/status";
Dir::Cache "$tmp/apt/cache";
Dir::Etc::sourcelist "$tmp/apt/sources.list";
Dir::Etc::sourceparts "$tmp/apt/empty";
Dir::Etc::preferences "$tmp/apt/none";
Dir::Etc::preferencesparts "$tmp/apt/empty";
Dir::Etc::trusted "$tmp/apt/none";
Dir::Etc::trustedparts "$tmp/apt/empty";
CONF
    [ "$(id -u)" -ne 0 ] || chown _apt "$tmp/deb" 2>/dev/null || :
    private_apt update -o APT::Update::Error-Mode=any >"$tmp/log" 2>&1 &&
        (cd "$tmp/deb" && private_apt download busybox-static) >>"$tmp/log" 2>&1
}

got=no
list=$(mirrors)
[ -n "$list" ] || die "this machine's apt sources name no Debian mirror (a URI that ends in /debian)"
for mirror in $list; do
    echo "fetch-busybox: Debian trixie $arch busybox-static from $mirror" >&2
    if fetch_from "$mirror"; then
        got=yes
        break
    fi
    sed 's/^/    /' "$tmp/log" >&2
done
[ $got = yes ] || die "no mirror gave the package"

dpkg-deb -x "$tmp"/deb/busybox-static_*_"$arch".deb "$tmp/x"
for bb in "$tmp/x/usr/bin/busybox" "$tmp/x/bin/busybox"; do
    [ ! -f "$bb" ] || break
done
[ -f "$bb" ] || die "the package holds no busybox"

# The applets' names stand in the program one after the other, NUL-terminated, behind "[" and "[[".
applets=$(tr '\0' '\n' <"$bb" | LC_ALL=C awk '
    on && /^[a-z0-9][a-z0-9._-]*$/ { name[n++] = $0; next }
    on && n >= 100 { exit }
    { on = $0 == "[["; n = 0 }
    END { for (i = 0; i < n; i++) print name[i] }')
n=$(printf '%s\n' "$applets" | wc -l)
[ "$n" -ge 100 ] || die "found only $n applet names in busybox"

mkdir -p "$new/bin" "$new/dev" "$new/etc" "$new/home" "$new/proc" "$new/root" "$new/run" "$new/sys" "$new/tmp" \
    "$new/usr" "$new/var/log" "$new/var/tmp" "$new/var/www"
chmod 755 "$new"
chmod 1777 "$new/tmp" "$new/var/tmp"
chmod 700 "$new/root"
cp "$bb" "$new/bin/busybox"
chmod 755 "$new/bin/busybox"
for a in '[' '[[' $applets; do
    [ "$a" = busybox ] || ln -s busybox "$new/bin/$a"
done
ln -s bin "$new/sbin"
ln -s ../bin "$new/usr/bin"
ln -s ../bin "$new/usr/sbin"
cat >"$new/etc/passwd" <<'TXT'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
TXT
cat >"$new/etc/group" <<'TXT'
root:x:0:
tty:x:5:
nogroup:x:65534:
TXT
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$new/etc/hosts"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$new/etc/nsswitch.conf"
printf '/bin/sh\n' >"$new/etc/shells"
printf '<h1>Vivarium</h1>\n' >"$new/var/www/index.html"
# Equal content, equal digest: every time stamp is the packaged program's.
find "$new" -depth -exec touch -h -r "$bb" {} +
mv -T "$new" "$dir"
echo "fetch-busybox: $dir is ready ($n applets)" >&2
