#!/bin/bash
# vmctl image import, image ls: what is kept, what is refused, what is left behind.
. "$(dirname "$0")/lib.sh"
start_daemon

tree=$dir/tree
mkdir -p "$tree/bin" "$tree/etc/deep/er" "$tree/tmp" "$tree/many"
chmod 1777 "$tree/tmp"
printf 'hello\n' >"$tree/etc/motd"
ln "$tree/etc/motd" "$tree/etc/motd2"
ln -s ../etc/motd "$tree/bin/link"
head -c 5000000 /dev/urandom >"$tree/bin/big"
: >"$tree/etc/empty"
head -c 4096 /dev/zero >"$tree/etc/page"
chmod 4755 "$tree/bin/big"
mkfifo "$tree/tmp/fifo"
for i in $(seq 300); do echo $i >"$tree/many/file-with-a-rather-long-name-$i"; done
printf 'bytes' >"$tree/etc/$(printf 'latin\351')"
[ "$(id -u)" = 0 ] && chown 12:34 "$tree/etc/motd"

run image import "$tree" --name first
expect "an import prints the digest" 0 "sha256-*"
[ $code = 0 ] && case $out in
sha256-????????????????????????????????????????????????????????????????) ;;
*) fail "a digest: $out" ;;
esac
first=$out
[ "sha256-$(sha256sum <"$dir/state/images/$first.erofs" | cut -d' ' -f1)" = "$first" ] || fail "the digest is the file's"
if command -v fsck.erofs >/dev/null; then
    fsck.erofs "$dir/state/images/$first.erofs" >"$dir/fsck" 2>&1 || fail "fsck.erofs: $(cat "$dir/fsck")"
    if [ "$(id -u)" = 0 ]; then
        dump.erofs --path=/etc/motd "$dir/state/images/$first.erofs" 2>&1 | grep -q 'Uid: 12   Gid: 34  Access: 0644' ||
            fail "owners are kept"
    fi
    # (extraction loses set-user-ID, as chown does)
    if fsck.erofs --help 2>&1 | grep -q extract; then
        fsck.erofs --extract="$dir/copy" "$dir/state/images/$first.erofs" >"$dir/fsck" 2>&1 || fail "extract: $(cat "$dir/fsck")"
        for d in "$tree" "$dir/copy"; do
            (cd "$d" && find . -printf '%P %y %m %s %l\n' | grep -av '^[^ ]* d' | sed 's/ 4755 / 755 /' | sort && find . -type d -printf '%P %m\n' | sort &&
                find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$d.list"
        done
        cmp "$tree.list" "$dir/copy.list" || fail "what comes out is what went in: $(diff "$tree.list" "$dir/copy.list" | head -5)"
    fi
fi
run image import "$tree" --name second
expect "the same tree is the same image" 0 "$first"
run image ls -q
expect "both names" 0 "first
second"
echo more >"$tree/etc/more"
run image import "$tree" --name first
[ "$out" != "$first" ] || fail "another tree is another image"
run image import "$tree"
expect "without a name" 0 "*" ""
run image ls -q
expect "a name moves on, the old image keeps its other name" 0 "first
second"

run image import "$dir/nosuch"
expect "no such folder" 125 "" "*nosuch: No such file*"
run image import "$tree/etc/motd"
expect "neither a folder nor an archive" 125 "" "*not a tar archive*"
run image import "$tree" --name 'Bad Name'
expect "a bad name" 125 "" '*image name "Bad Name"*'
run image import "$tree" --name "$first"
expect "a digest is no name" 125 "" '*image name "sha256*'

# An import that breaks off leaves nothing.
head -c 300000000 /dev/zero >"$tree/huge"
"$vmctl" image import "$tree" --name broken >/dev/null 2>&1 &
client=$!
eventually sh -c "ls $dir/state/images | grep -q incoming" || fail "it is under way"
kill -KILL $client
{ wait $client; } 2>/dev/null
eventually sh -c "! ls $dir/state/images | grep -q incoming" || fail "a broken import leaves nothing: $(ls "$dir/state/images")"
rm "$tree/huge"
run image ls -q
expect "and no name" 0 "first
second"
stop_daemon
start_daemon --import /bin/false
run image import "$tree" --name x
expect "an importer that fails" 125 "" "*vmd-import exited with code 1*"
eventually sh -c "! ls $dir/state/images | grep -q incoming" || fail "a failed import leaves nothing"
run image ls -q
expect "names outlive a restart" 0 "first
second"
stop_daemon
start_daemon --import /nosuch/vmd-import
run image import "$tree" --name x
expect "an importer that is not there" 125 "" "*cannot start /nosuch/vmd-import*"
run image ls -q
expect "the daemon goes on" 0 "*" ""
stop_daemon
: >"$dir/state/images/incoming-0123"
start_daemon
[ -e "$dir/state/images/incoming-0123" ] && fail "leftovers go at the next start"
finish
