#!/bin/sh
# build-deb.sh [OUT] - make OUT/vivarium_VERSION_ARCH.deb (default: build/deb) with dpkg-deb. Builds in build-deb/ unless
# BUILD names a finished build folder. Needs dpkg-dev (dpkg-shlibdeps finds what it depends on); no root.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
out=$(realpath -m "${1:-build/deb}")
build=${BUILD:-build-deb}

command -v dpkg-shlibdeps >/dev/null || { echo "build-deb: dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2; exit 1; }
if [ -z "${BUILD:-}" ]; then
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVV_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr >/dev/null
    cmake --build "$build" -- --quiet
fi
version=$(sed -n 's/^project(vivarium VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
arch=$(dpkg --print-architecture)
# One source, one package: every file has the date of the last change.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
root=$tmp/root
mkdir -p "$root/DEBIAN" "$tmp/debian"
umask 022
chmod 755 "$root"
DESTDIR=$root cmake --install "$build" --prefix /usr --strip >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }

doc=$root/usr/share/doc/vivarium
mkdir -p "$doc"
cp packaging/debian/copyright "$doc/copyright"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
{
    printf 'vivarium (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n' "$version"
    printf ' -- Vivarium maintainers <maintainers@users.noreply.h-seed-03864f48.example>  %s\n' "$(date -Rud "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.Debian.gz"
find "$root/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
find "$root" -type d -exec chmod 755 {} + # whatever the umask of the build was
find "$root" -type f -exec chmod u=rwX,go=rX {} +

# dpkg-shlibdeps wants to stand in a source package.
printf 'Source: vivarium\n\nPackage: vivarium\nArchitecture: any\n' >"$tmp/debian/control"
depends=$(cd "$tmp" && dpkg-shlibdeps -O root/usr/bin/vmctl root/usr/lib/vivarium/vmd root/usr/lib/vivarium/vmd-worker \
    root/usr/lib/vivarium/vmd-import 2>"$tmp/log" | sed -n 's/^shlibs:Depends=//p') || { cat "$tmp/log" >&2; exit 1; }
[ -n "$depends" ] || { echo "build-deb: no dependencies found" >&2; cat "$tmp/log" >&2; exit 1; }
size=$(du -k -s --apparent-size --exclude=DEBIAN "$root" | cut -f1)
sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@SIZE@|$size|; s|@DEPENDS@|$depends|" packaging/debian/control.in \
    >"$root/DEBIAN/control"
cp packaging/debian/conffiles "$root/DEBIAN/"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums"

mkdir -p "$out"
deb=$out/vivarium_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
cd "$top"
echo "$deb"
