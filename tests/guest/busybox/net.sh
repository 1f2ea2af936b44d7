# Loopback: httpd serves, wget fetches; nc talks
mkdir www
echo '<h1>hello</h1>' >www/index.html
seq 20000 >www/big
httpd -f -p 127.0.0.1:18080 -h www &
server=$!
n=0
until wget -q -O page http://127.0.0.1:18080/ 2>/dev/null || [ $n -ge 50 ]; do n=$((n + 1)); sleep 0.1; done
cat page
wget -q -O big http://127.0.0.1:18080/big && cmp big www/big && echo big is equal
wget -q -O none http://127.0.0.1:18080/none 2>/dev/null || echo no such page
kill $server
wait $server 2>/dev/null
wget -q -O page http://127.0.0.1:18080/ 2>/dev/null || echo server gone
(echo question | nc -l -p 18081 >asked) &
n=0
until echo answer | nc 127.0.0.1 18081 >answered 2>/dev/null || [ $n -ge 50 ]; do n=$((n + 1)); sleep 0.1; done
wait
cat asked answered
