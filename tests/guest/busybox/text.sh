# Text tools: grep sed awk sort uniq cut tr head tail wc paste diff printf
i=1
while [ $i -le 200 ]; do
    echo "$i line $((i * 7919 % 101)) $((i % 3 == 0)) word$((i % 7))"
    i=$((i + 1))
done >data
wc data
grep -c 'word3' data
grep -n '^1[0-9] ' data | head -n 5
grep -v 1 data | wc -l
grep -E 'word(1|2)$' data | tail -n 3
sed -n '10,12p' data
sed 's/line \([0-9]*\)/<\1>/; 3q' data
sed -e '/word0/d' -e 's/ /_/g' data | head -n 3
awk '{ sum[$5] += $3; n[$5]++ } END { for (k in sum) print k, sum[k], n[k] }' data | sort
awk 'BEGIN { for (i = 0; i < 5; i++) printf "%d %s %.3f\n", i, substr("abcdefgh", i + 1, 3), i / 7 }'
awk -F: '{ print toupper($1), length($0) }' <<TXT
one:two
three:four
TXT
sort -k3,3n -k1,1nr data | head -n 5
cut -d' ' -f3 data | sort -n | uniq -c | sort -k1,1nr -k2,2n | head -n 4
cut -c1-8 data | tail -n 2
tr a-z A-Z <data | head -n 2
tr -d aeiou <data | head -n 1
tail -n +199 data
head -c 20 data
echo
seq 1 5 | paste -s -d+ - | bc
printf '%5d|%-5s|%05.1f|%x|%c\n' 42 ab 3.14159 255 z
seq 3 | tac
echo hello | rev
echo 'a b c' | xargs -n 1 echo item
seq 10 | xargs | tr ' ' ,
printf 'b\na\nc\n' >one
printf 'a\nb\nd\n' >two
diff one two
echo "diff says $?"
md5sum data | cut -c1-32
sha256sum data | cut -c1-64
sha1sum <data | cut -c1-40
echo hello | base64
echo aGVsbG8K | base64 -d
echo abc | od -c | head -n 1
echo abc | hexdump -C | head -n 1
expr 6 \* 7
expr length vivarium
dirname /a/b/c
basename /a/b/c.txt .txt
factor 360
cal 2 2024
fold -w 10 <<TXT
the quick brown fox jumps
TXT
nl one
