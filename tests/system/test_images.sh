#!/bin/bash
# Archives and container images: what is taken, what is kept, what is refused; names, removal, export.
. "$(dirname "$0")/lib.sh"
python3 "$(dirname "$0")/archives.py" "$(mkdir "$dir/a" && echo "$dir/a")" || { say "archives.py failed"; exit 1; }
start_daemon
a=$dir/a
images=$dir/state/images

# look IMAGE: what is in it, a line each, as fsck.erofs extracts it.
look() {
    rm -rf "$dir/x"
    fsck.erofs --extract="$dir/x" "$images/$1.erofs" >"$dir/fsck" 2>&1 || { fail "fsck.erofs $1: $(cat "$dir/fsck")"; return; }
    (cd "$dir/x" && find . -mindepth 1 -printf '%y %P -> %l\n' | sed 's/ -> $//' | sort -k 2,2)
}
clean() { # nothing half-made
    eventually sh -c "! ls $images | grep -q incoming" || fail "$1 leaves nothing: $(ls "$images")"
}

# ---- a root file system, however it is packed ----
run image import "$a/root.tar" --name root
expect "a tar" 0 "sha256-*"
root=$out
for z in gz xz zst; do
    run image import "$a/root.tar.$z"
    expect "compressed with $z it is the same image" 0 "$root"
done
timeout 20 "$vmctl" image import - <"$a/root.tar.gz" >"$dir/out" 2>"$dir/err" && [ "$(cat "$dir/out")" = "$root" ] ||
    fail "from standard input: $(cat "$dir/err")"
cat "$a/root.tar.xz" | timeout 20 "$vmctl" image import - >"$dir/out" 2>"$dir/err" && [ "$(cat "$dir/out")" = "$root" ] ||
    fail "from a pipe: $(cat "$dir/err")"
[ -s "$dir/err" ] && fail "no progress where there is no terminal: $(cat "$dir/err")"
if [ "$(id -u)" = 0 ]; then
    dump.erofs --path=/bin/sh "$images/$root.erofs" >"$dir/dump" 2>&1
    grep -q 'Uid: 1   Gid: 2  Access: 0755' "$dir/dump" && grep -q 'Links: 2' "$dir/dump" && grep -q '250000000' "$dir/dump" ||
        fail "owner, mode, links, time: $(cat "$dir/dump")"
fi
case $(look "$root") in
*"p etc/fifo"*"l etc/link -> ../bin/sh"*"c etc/null"*) ;;
*) fail "devices and links: $(look "$root")" ;;
esac
for f in root.gnu.tar blobs.tar late.tar; do
    run image import "$a/$f"
    expect "$f is a root file system" 0 "sha256-*"
done
case $(look "$out") in
"d etc"*"f etc/x"*"f index.json") ;;
*) fail "members that were put aside come back: $(look "$out")" ;;
esac

# ---- progress, on a terminal only ----
python3 - "$vmctl" "$a/root.tar" <<'P' >"$dir/shown" || fail "an import on a terminal"
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[:0] + [sys.argv[1], "image", "import", sys.argv[2]])))
P
grep -q '\[=* *\] .*% .* of .*/s  ETA' "$dir/shown" && grep -q "$root" "$dir/shown" || fail "a progress line: $(cat -v "$dir/shown")"

# ---- round trips ----
for f in root.tar oci.tar; do
    run image import "$a/$f" --name trip
    first=$out
    run image export trip -o "$dir/trip.tar"
    expect "export $f" 0 "" ""
    tar tf "$dir/trip.tar" >/dev/null 2>"$dir/err" || fail "tar reads it: $(cat "$dir/err")"
    run image import "$dir/trip.tar"
    expect "$f, exported and imported, is the same image" 0 "$first"
done
mkdir "$dir/names"
printf x >"$dir/names/$(printf 'latin\351')"
run image import "$dir/names"
names=$out
run image export "$names" -o "$dir/names.tar"
run image import "$dir/names.tar"
expect "names that are no UTF-8 are kept" 0 "$names"
run image export root -o "$dir/root.tar"
python3 - "$dir/root.tar" <<'P' || fail "attributes, modes, owners, times, links and devices in the export"
import sys, tarfile
t = tarfile.open(sys.argv[1])
x, sh, hard, null, acl = (t.getmember(n).get_info() | {"pax": t.getmember(n).pax_headers}
                          for n in ("etc/xattr", "bin/sh", "etc/hard", "etc/null", "etc/acl"))
wanted = bytes([2, 0, 0, 0] + [1, 0, 6, 0] + [255] * 4 + [2, 0, 4, 0, 33, 0, 0, 0] + [4, 0, 4, 0] + [255] * 4 + [16, 0, 4, 0] + [255] * 4
               + [32, 0, 0, 0] + [255] * 4)
sys.exit(acl["pax"]["SCHILY.xattr.system.posix_acl_access"].encode("utf-8", "surrogateescape") != wanted or x["pax"].get("SCHILY.xattr.user.colour") != "green" or any("apple" in k for k in x["pax"]) or sh["mode"] != 0o4755
         or (sh["uid"], sh["gid"]) != (1, 2) or sh["mtime"] != 1700000000.25 or hard["linkname"] != "bin/sh"
         or (null["devmajor"], null["devminor"]) != (1, 3))
P
run image export root --format erofs -o "$dir/root.erofs"
expect "export as it is" 0 "" ""
cmp "$dir/root.erofs" "$images/$root.erofs" || fail "the image's own bytes"
"$vmctl" image export root 2>/dev/null | cmp - "$dir/root.tar" || fail "to standard output"
run image export nosuch -o "$dir/no.tar"
expect "no such image" 125 "" '*no image "nosuch"*'
[ -e "$dir/no.tar" ] && fail "a failed export leaves no file"
run image export root --format zip
expect "a bad format" 2 "" "*use tar or erofs*"
run image export root -o "$dir/nosuch/x.tar"
expect "no folder for it" 125 "" "*No such file*"

# ---- container images ----
run image import "$a/oci.tar" --name app
expect "an OCI layout" 0 "sha256-*"
app=$out
for f in oci-first.tar oci-zstd.tar oci.tar.gz oci-arch.tar docker-old.tar docker-new.tar; do
    run image import "$a/$f"
    expect "$f is the same image" 0 "$app"
done
want='d dir
f dir/c
d etc
f etc/group
f etc/passwd
f file
f hard2
l link -> file
d opq
f opq/new
d turns
f turns/dir
f was'
[ "$(look "$app")" = "$want" ] || fail "layers: $(diff <(echo "$want") <(look "$app"))"
[ "$(cat "$dir/x/file")" = second ] || fail "the upper layer's content: $(cat "$dir/x/file")"
[ "$(cat "$dir/x/hard2")" = hard ] || fail "a file whose first name was hidden keeps its content"
run image inspect -o jsonl app
for part in '"entrypoint":["/bin/app","--flag"]' '"cmd":["x y","it'"'"'s"]' '"env":["PATH=/bin","A=b c"]' '"workdir":"/work"' '"user":"web:staff"' \
    '"uid":33' '"gid":55' '"architecture":"riscv64"' '"labels":["who=test"]' '"names":["app"' '"entries":"14"'; do
    case $out in
    *"$part"*) ;;
    *) fail "inspect: no $part in: $out" ;;
    esac
done
if command -v skopeo >/dev/null; then # what another tool makes of our layout is the same image
    mkdir "$dir/layout"
    tar -C "$dir/layout" -xf "$a/oci.tar"
    for to in docker-archive oci-archive; do
        skopeo --override-arch riscv64 copy -q "oci:$dir/layout:latest" "$to:$dir/$to.tar:app:1" >"$dir/skopeo" 2>&1 ||
            fail "skopeo: $(cat "$dir/skopeo")"
        run image import "$dir/$to.tar" --reference app:1
        expect "skopeo's $to is the same image" 0 "$app"
    done
fi
run image import "$a/oci-short.tar"
expect "a layer whose last block is cut off" 0 "sha256-*"
while read -r name ids; do
    run image import "$a/$name.tar" --name user
    run image inspect -o jsonl user
    case $out in
    *"\"uid\":${ids%:*},"*"\"gid\":${ids#*:},"*) ;;
    *'"user":'*"\"uid\":${ids%:*},"*) [ "${ids#*:}" = 0 ] || fail "$name: not $ids: $out" ;; # 0 is left out
    *) fail "$name: not $ids: $out" ;;
    esac
done <<'U'
user-number 1000:0
user-known 33:44
user-name 33:44
user-pair 1:2
user-mixed 33:55
U
run image import "$a/podman.tar"
expect "two images need a reference" 125 "" "*several images*localhost/app:1, docker.io/library/base:latest*"
run image import "$a/podman.tar" --reference app:1
expect "by its short name" 0 "$app"
run image import "$a/podman.tar" --reference base
expect "another one" 0 "sha256-*"
[ "$out" = "$app" ] && fail "it is another one"
run image import "$a/podman.tar" --reference nosuch
expect "no such reference" 125 "" '*no image "nosuch"*localhost/app:1*'
run image import "$a/oci-two.tar" --reference app:1
expect "an OCI reference" 0 "$app"
run image import "$a/oci.tar" --digest "$app"
expect "the expected digest" 0 "$app"
run image import "$a/oci.tar" --digest "$root"
expect "another digest than expected" 125 "" "*not $root as expected*"
clean "a wrong digest"

# ---- hostile archives: a typed error that names the member; nothing is left; nobody else notices ----
before=$(ls "$images" | sort)
while IFS=$'\t' read -r file pattern; do
    run image import "$a/$file" --name evil
    expect "$file" 125 "" "$pattern"
    case $err in
    *signal* | *"exited with"* | *INTERNAL*) fail "$file: the importer broke: $err" ;;
    esac
done <"$a/hostile.txt"
clean "a hostile archive"
[ "$before" = "$(ls "$images" | sort)" ] || fail "hostile archives leave nothing: $(diff <(echo "$before") <(ls "$images" | sort))"
run image inspect evil
expect "nor a name" 125 "" '*no image "evil"*'
# an importer that is killed
(cat "$a/root.tar"; sleep 3) | timeout 20 "$vmctl" image import - --name evil >"$dir/out" 2>"$dir/err" &
client=$!
eventually sh -c "pgrep -P $daemon -x vmd-import" && kill -KILL "$(pgrep -P "$daemon" -x vmd-import)"
wait $client && fail "an import whose importer was killed"
grep -q 'vmd-import died of signal 9' "$dir/err" || fail "a killed importer: $(cat "$dir/err")"
clean "a killed importer"
# more files than an image can have: they do not cost more than the limit
python3 - <<'P' | timeout 100 "$vmctl" image import - >"$dir/out" 2>"$dir/err"
import sys, tarfile
one, sums = [], []
for i in range(5000):
    h = bytearray(tarfile.TarInfo("d000/%06d" % i).tobuf(tarfile.USTAR_FORMAT))
    h[148:156] = b"        "
    one.append(h)
    sums.append(sum(h))
for block in range(220):
    part, name = bytearray(), b"d%03d" % block
    more = sum(name) - sum(b"d000")
    for h, s in zip(one, sums):
        h[0:4] = name
        h[148:156] = b"%06o\0 " % (s + more)
        part += h
    try:
        sys.stdout.buffer.write(part)
    except BrokenPipeError:
        break
P
grep -q 'more than 1000000 entries' "$dir/err" || fail "a million tiny files: $(cat "$dir/out" "$dir/err")"
clean "a million files"

# ---- names ----
"$vmctl" image rm trip >/dev/null
run image tag app app:v2
expect "tag" 0 "" ""
run image tag "$root" app
expect "a name moves on" 0 "" ""
run image inspect app:v2
expect "the old image has its other name" 0 "*$app*"
run image tag app 'Bad Name'
expect "a bad name" 125 "" '*image name "Bad Name"*'
run image tag nosuch x
expect "tag of nothing" 125 "" '*no image "nosuch"*'
run image rm app:v2 nosuch
expect "rm says what it could not" 125 "app:v2" '*no image "nosuch"*'
[ -e "$images/$app.erofs" ] || fail "without a name the image stays until gc"
run image rm "$root"
expect "rm by digest" 0 "$root"
[ -e "$images/$root.erofs" ] && fail "by digest the image goes"
run image inspect app
expect "with its names" 125 "" '*no image "app"*'
run image gc --dry-run
expect "gc says what would go" 0 "*$app*" "*would be freed*"
[ -e "$images/$app.erofs" ] || fail "a dry run removes nothing"
run image gc
expect "gc" 0 "*$app*" "*freed*"
[ -e "$images/$app.erofs" ] && fail "gc removes the image"
ls "$images" | grep config- >"$dir/configs"
run image ls -q
left=$out
[ "$(wc -l <"$dir/configs")" = "$(for i in $left; do "$vmctl" image inspect $i; done | grep -c architecture)" ] ||
    fail "configurations go with their images: $(cat "$dir/configs")"
clean "gc"

# ---- kill -9: what was answered is there; what was not is gone ----
run image import "$a/oci.tar" --name kept
kept=$out
"$vmctl" image tag kept kept2
for _ in 1 2 3 4 5; do
    "$vmctl" image import "$a/docker-old.tar" --name maybe >"$dir/maybe" 2>/dev/null &
    client=$!
    sleep "0.0$((RANDOM % 9))"
    kill -KILL "$daemon"
    { wait "$daemon"; wait $client; } 2>/dev/null
    start_daemon
    run image inspect kept2
    expect "an image outlives kill -9" 0 "*$kept*names:*kept*"
    [ -s "$dir/maybe" ] && { run image inspect maybe; expect "so does one that was answered" 0 "*entries:*"; }
    clean "kill -9"
done
: >"$images/config-0123456789abcdef"
cp "$images/$kept.erofs" "$images/sha256-$(printf unknown | sha256sum | cut -d' ' -f1).erofs"
stop_daemon
start_daemon
[ "$(ls "$images" | grep -c 'config-0123456789abcdef\|'"$(printf unknown | sha256sum | cut -d' ' -f1)")" = 0 ] ||
    fail "what the index does not name goes at the next start"

# ---- the store of version 1 ----
stop_daemon
rm "$images/index"
printf 'vmd image names 1\nold %s\n' "$kept" >"$images/names"
start_daemon
run image inspect old
expect "the names of version 1 are taken over" 0 "*$kept*"
[ -e "$images/names" ] && fail "and not read again"
stop_daemon
echo nonsense >>"$images/index"
"$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" >"$dir/out" 2>&1 && fail "a damaged index stops the start"
grep -q 'index:[0-9]*: neither an image nor a name' "$dir/out" || fail "and says where: $(cat "$dir/out")"
[ -e "$images/$kept.erofs" ] || fail "and removes nothing"
finish
