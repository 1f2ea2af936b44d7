#!/bin/bash
# vmctl run over the real path: output, input, exit codes, names, removal.
. "$(dirname "$0")/lib.sh"
fake_image
start_daemon

guest echo hello world
expect "output comes through" 0 "hello world" ""
guest err oops
expect "the second stream goes to standard error" 0 "" "oops"
guest exit 7
expect "an exit code comes through" 7 ""
guest signal 11
expect "a signal is 128 + its number" 139 ""
guest limit
expect "a limit is 125 and says which" 125 "" "*limit: cpu_ns reached*"
guest missing
expect "a program that is not there" 125 "" "*missing: no such program in the image*"
run run --image nosuch echo
expect "an image that is not there" 125 "" '*no image "nosuch"; "vmctl image ls"*'
guest -e A=b --env C=d=e env
expect "variables are set beside the defaults" 0 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
A=b
C=d=e"
guest --timeout 0.2 spin
expect "a timeout is 124" 124 "" "*longer than --timeout*"
guest -- echo --name x
expect "options end at --" 0 "--name x"
guest echo --name x
expect "options end at the program" 0 "--name x"

out=$(printf 'one\ntwo\n' | "$vmctl" run --image fake cat)
[ "$out" = "one
two" ] || fail "standard input comes through: $out"
head -c 3000000 /dev/urandom >"$dir/big"
"$vmctl" run --image fake cat <"$dir/big" >"$dir/copy"
cmp "$dir/big" "$dir/copy" || fail "3 MB through cat are unchanged"
cat "$dir/big" | "$vmctl" run --image fake cat | cat >"$dir/copy"
cmp "$dir/big" "$dir/copy" || fail "3 MB through cat and pipes are unchanged"
n=$("$vmctl" run --image fake flood 20000000 </dev/null | (sleep 0.3; wc -c))
[ "$n" = 20000000 ] || fail "nothing is lost for a slow reader: $n"
"$vmctl" run --image fake alternate 20000 >"$dir/out" 2>"$dir/err" </dev/null
[ "$(stat -c %s "$dir/out") $(stat -c %s "$dir/err")" = "10000 10000" ] || fail "both streams are complete"
timeout -s KILL 10 "$vmctl" run --image fake flood 1000000000 </dev/null 2>/dev/null | head -c 10 >/dev/null
[ "${PIPESTATUS[0]}" = 141 ] || fail "a reader that leaves ends the guest as SIGPIPE would: ${PIPESTATUS[0]}"

guest --name web echo x
guest --name web echo x
expect "a name is taken once" 125 "" '*guest "web" exists already*'
guest --name gone --rm echo x
run ps -aq
case " $(echo $out) " in
*" gone "*) fail "--rm removes" ;;
esac
case " $(echo $out) " in
*" web "*) ;;
*) fail "ps -aq lists web: $out" ;;
esac
run rm web
expect "rm" 0 ""
run logs web
expect "after rm it is gone" 125 "" '*no guest "web"*'

"$vmctl" run --image fake sleep </dev/null >/dev/null 2>&1 &
client=$!
eventually sh -c "$vmctl ps | grep -q running" || fail "it runs"
eventually takes_interrupts $client || fail "it takes interrupts"
kill -INT $client
wait $client
[ $? = 130 ] || fail "an interrupt is forwarded and comes back as 130"

guest -u x echo
expect "a wrong user is a usage error" 2 "" "*--user x: numbers*"
run run echo
expect "no image is a usage error" 2 "" "*--image is missing*"
run frobnicate
expect "an unknown command" 2 "" '*unknown command "frobnicate"*'
run ps --nosuch
expect "an unknown option" 2 "" '*unknown option --nosuch*vmctl ps --help*'
for c in run ps stop kill wait logs rm "image import" "image ls" version; do
    run $c --help
    expect "help of $c" 0 "*" ""
    case $out in
    "Usage: vmctl $c"*) ;;
    *) fail "help of $c: $out" ;;
    esac
done
stop_daemon
run ps
expect "without a daemon it says how to start one" 125 "" '*no daemon at *; start it with "*/bin/vmd --daemonize --socket*'
finish
