# File tools: mkdir cp mv rm ln ls find chmod touch du tar gzip cpio dd stat cmp
mkdir -p a/b/c a/d
echo one >a/one
echo two >a/b/two
echo three >a/b/c/three
ln -s one a/link
ln a/one a/hard
ls -1 a
ls a/b
readlink a/link
find a | sort
find a -type f -name 't*' | sort
find a -type l
find a -type f -exec cat {} + | sort
find a -type d -empty
find a -newer a/b/two -type f 2>/dev/null | wc -l | sed 's/[0-9]*/n/'
chmod 640 a/one
stat -c '%a %F %s %h' a/one
stat -c '%N' a/link 2>/dev/null | sed "s/'//g"
cp -a a copy
diff -r a copy && echo equal
cp a/one copy/new
mv copy/new copy/moved
cat copy/moved
rm -r copy/b
ls copy
touch -d '2001-02-03 04:05:06' a/one
TZ=UTC date -r a/one '+%Y-%m-%d %H:%M:%S'
tar cf t.tar a
tar tf t.tar | sort
mkdir x && tar xf t.tar -C x && diff -r a x/a && echo same
tar czf t.tgz a && tar tzf t.tgz | wc -l
gzip -c a/b/two | gunzip
seq 5000 >big
gzip big && ls big* && gunzip big.gz && wc -l big
bzip2 -c big | bunzip2 | cmp - big && echo bzip2
xz -dc </dev/null 2>/dev/null; echo xz $?
dd if=big of=part bs=100 count=3 2>/dev/null && wc -c part
dd if=/dev/zero of=hole bs=1k count=0 seek=100 2>/dev/null && wc -c hole
find a | sort | cpio -o -H newc 2>/dev/null >c.cpio; mkdir y; (cd y && cpio -i 2>/dev/null <../c.cpio; find . -type f | sort)
cmp a/one a/b/two
rm missing 2>/dev/null
echo $?
rmdir a 2>/dev/null
echo $?
mkdir a 2>/dev/null
echo $?
cat missing 2>&1 | sed 's/.*: //'
ls missing 2>/dev/null
echo $?
mkfifo pipe
(echo through >pipe) &
cat pipe
wait
test -p pipe && echo fifo
head -c 1000 /dev/zero | wc -c
head -c 16 /dev/urandom | wc -c
echo gone >/dev/null
cd a/b/c && cd ../../.. && ls | wc -l
rm -rf a x y copy
ls | sort
