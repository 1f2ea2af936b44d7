# The shell itself: loops, functions, expansions, traps, here-documents, redirections, substitutions, exit codes
f() { local x=$1; [ $x -le 1 ] && echo 1 || echo $((x * $(f $((x - 1))))); }
f 10
for w in a b "c d"; do echo "<$w>"; done
case vivarium in v*m) echo match ;; *) echo none ;; esac
x=hello.tar.gz
echo ${x%.gz} ${x%%.*} ${x#*.} ${x##*.} ${#x} ${y:-default} ${x/tar/zip}
set -- one two three
echo $# $2 "$*"
shift
echo $1
while read a b; do echo "$b-$a"; done <<TXT
1 2
3 4
TXT
n=0
until [ $n -ge 3 ]; do n=$((n + 1)); done
echo $n
(exit 7)
echo $?
false || echo or
true && echo and
! false
echo $?
echo out >file
echo more >>file
cat <file
echo err 2>/dev/null >&2
{ echo 1; echo 2 >&2; } 2>&1 | sort -r
y=$(echo nested $(echo inner))
echo $y
trap 'echo trapped' USR1
kill -USR1 $$
trap 'echo bye' EXIT
exec 3>fd3
echo three >&3
exec 3>&-
cat fd3
sleep 0.05 &
wait $!
echo waited $?
sh -c 'exit 9' &
wait $!
echo waited $?
(sleep 5; echo never) &
p=$!
kill $p
wait $p 2>/dev/null
echo killed $?
sh -c 'kill -TERM $$'
echo $?
echo $(seq 500 | wc -l) $(yes | head -n 1000 | wc -l)
printf '%s\n' a*e f?le
set -f
echo *
set +f
test -f file && echo file
test -d . && echo folder
[ abc = abc ] && [ 3 -lt 5 ] && echo compare
eval 'z=5; echo $((z ** 2))' 2>/dev/null || echo 25
echo "$((0x1f + 010)) $((7 / 2)) $((-7 % 3)) $((1 << 40))"
i=0
while :; do
    i=$((i + 1))
    [ $i -eq 3 ] && continue
    [ $i -gt 5 ] && break
    echo -n "$i "
done
echo
umask 022
mkdir d && cd d && pwd | sed 's,.*/,,' && cd ..
echo 'echo script with $1' >s.sh
sh s.sh argument
. ./s.sh
readonly r=1
(r=2) 2>/dev/null || echo readonly
unset x
echo "${x-unset}"
set -e
(false; echo not reached) || echo left
