# vmctl isa run: exit codes, the table, the trace, bad input. No daemon takes part.
set -u
vmctl=$BUILD/bin/vmctl
here=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

# expect CODE TEXT COMMAND...: it ends with CODE and says TEXT
expect() {
    code=$1 text=$2
    shift 2
    "$@" >"$tmp/out" 2>&1
    got=$?
    if [ $got -ne "$code" ] || ! grep -qF -- "$text" "$tmp/out"; then
        echo "FAILED: $* ended with $got, wanted $code and \"$text\":"
        cat "$tmp/out"
        failed=1
    fi
}

pg=$here/etc/isa/pg
expect 0 "equal" "$vmctl" isa run "$pg/os.pg" --depth 3 --check
expect 0 "equal" "$vmctl" isa run "$pg/os.pg" --depth 2 --check --vmm hybrid
expect 0 "100.00%" "$vmctl" isa run "$pg/primes.pg" --depth 0
expect 1 "DIFFERS" "$vmctl" isa run "$pg/retu.pg" --check
expect 0 "equal" "$vmctl" isa run "$pg/retu.pg" --check --vmm hybrid
expect 1 "E[48] is 0x2b on the bare machine" "$vmctl" isa run "$pg/lra.pg" --check
expect 1 "DIFFERS" "$vmctl" isa run "$pg/lra.pg" --check --vmm hybrid
expect 0 "vmm dispatch" "$vmctl" isa run "$pg/os.pg" --trace
expect 0 "vmm2 dispatch" "$vmctl" isa run "$pg/retu.pg" --trace --depth 2
expect 2 "--depth 101: a number from 0 to 100 was expected" "$vmctl" isa run "$pg/os.pg" --depth 101
expect 2 "builtin or hybrid was expected" "$vmctl" isa run "$pg/os.pg" --vmm other
expect 2 "GUEST.pg is missing" "$vmctl" isa run
expect 3 "No such file" "$vmctl" isa run "$tmp/none.pg"
printf 'start: JMP start\n' >"$tmp/loop.pg"
expect 4 "no HALT within 1000 instructions" "$vmctl" isa run "$tmp/loop.pg" --steps 1000
printf '\n JMP  nowhere\n' >"$tmp/bad.pg"
expect 3 "bad.pg:2:7: nowhere is not defined" "$vmctl" isa run "$tmp/bad.pg"
printf '.size 65535\n .word 0\n .psw s, 2, 0, 65535\n HALT\n' >"$tmp/large.pg"
expect 3 "a machine has at most 65535" "$vmctl" isa run "$tmp/large.pg"
expect 0 "halted" "$vmctl" isa run "$tmp/large.pg" --depth 0
head -c 2000000 /dev/zero >"$tmp/huge.pg"
expect 3 "at most 1048576" "$vmctl" isa run "$tmp/huge.pg"

[ $failed -eq 0 ] && echo "all as it must be"
exit $failed
