# Processes: background jobs, waits, pipes that break, many children, signals between them
for i in 1 2 3 4 5; do (sleep 0.0$i; echo "job $i") >out$i & done
wait
cat out1 out2 out3 out4 out5
yes | head -n 3
(trap '' PIPE; yes; echo "yes got $?" >&2) 2>status | head -n 1
sed 's/.*got/got/' status | tail -n 1
i=0
while [ $i -lt 60 ]; do
    (exit $((i % 5))) &
    i=$((i + 1))
done
wait
echo all there
mkfifo p q
(while read line; do echo "echo: $line"; done <p >q) &
(echo first; echo second) >p &
cat q
wait
timeout 0.1 sleep 5
echo timeout $?
(sleep 10 & echo started; kill $!; wait $! 2>/dev/null; echo $?)
sh -c 'trap "echo term; exit 3" TERM; kill -TERM $$; sleep 1'
echo $?
nohup true 2>/dev/null && echo nohup
set -m 2>/dev/null
sleep 5 &
kill %1 && wait 2>/dev/null
echo job gone
seq 3 | while read n; do (echo $n) | cat; done
a=$(for i in 1 2 3; do echo $i & wait; done)
echo $a
echo $( (echo sub; exit 4) ) $?
env -i A=1 B=2 env | sort
env A=x sh -c 'echo $A $0 $1' zero one
usleep 1000
time -f '' true 2>/dev/null || true
