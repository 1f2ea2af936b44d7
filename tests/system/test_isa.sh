#!/bin/bash
# vmctl isa check and explain: what it answers is in its exit code, for every instruction set we ship and for bad ones.
. "$(dirname "$0")/lib.sh"
isa=$(cd "$(dirname "$0")/../../etc/isa" && pwd)
expected=$(dirname "$0")/isa.expect
: >"$dir/log" # there is no daemon

# code NAME WANTED COMMAND...: the exit code, and what is said is kept in $dir/out and $dir/err
code() {
    local name=$1 wanted=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err"
    local got=$?
    [ $got = "$wanted" ] || fail "$name: exit code $got, not $wanted: $(head -c 300 "$dir/err")"
}

TIMEFORMAT='%U %S'
check_all() {
    for file in "$isa"/*.yaml; do
        name=$(basename "$file" .yaml)
        wanted=$(sed -n "s/^$name //p" "$expected")
        [ -n "$wanted" ] || fail "$name is not in isa.expect"
        code "$name" "${wanted:-0}" "$vmctl" isa check "$file"
        grep -q 'undecided' "$dir/out" && fail "$name: something is undecided"
    done
}
{ time check_all; } 2>"$dir/time"
say "all specifications of etc/isa, user and system seconds: $(tail -1 "$dir/time")"
took=$(tail -1 "$dir/time" | cut -d. -f1)
[ "$took" -lt 20 ] || fail "that took too long" # 5 s without sanitizers

grep -v '^#' "$expected" | while read -r name _; do
    [ -f "$isa/$name.yaml" ] || exit 1
done || fail "isa.expect names a file that is not there"

cat >"$dir/toy.yaml" <<'END'
isa: toy
machine:
  word_bits: 16
  modes: [s, u]
  state:
    A: {bits: 16, role: general}
    M: {bits: 1, role: mode}
    R: {bits: 16, role: resource}
instructions:
- name: READ
  semantics: A = R;
  expect: [resource]
- name: NOP
  semantics: A = A;
END
code "a hole" 1 "$vmctl" isa check "$dir/toy.yaml"
grep -q '^READ *critical' "$dir/out" || fail "READ is not critical"
code "a table goes before a page" 1 "$vmctl" isa check "$dir/toy.yaml" --html "$dir/toy.html"
grep -q '<html' "$dir/toy.html" || fail "no page was written"
code "JSON" 1 "$vmctl" isa check "$dir/toy.yaml" -o json
head -c 1 "$dir/out" | grep -q '{' || fail "that is no JSON"
code "YAML" 1 "$vmctl" isa check "$dir/toy.yaml" -o yaml
code "one instruction" 5 "$vmctl" isa check "$dir/toy.yaml" --instruction NOP
code "no time" 5 "$vmctl" isa check "$dir/toy.yaml" --instruction NOP --timeout 0.000000001
code "the witness is run" 1 "$vmctl" isa check "$dir/toy.yaml" --diverge
grep -q 'they differ' "$dir/out" || fail "the witness does not diverge"
code "questions for a solver" 1 "$vmctl" isa check "$dir/toy.yaml" --emit-smt "$dir/smt"
ls "$dir"/smt/*.smt2 >/dev/null 2>&1 || fail "no questions were written"
code "in plain words" 0 "$vmctl" isa explain "$dir/toy.yaml" READ
grep -q 'hole' "$dir/out" || fail "READ is not explained"
code "an unknown instruction" 3 "$vmctl" isa explain "$dir/toy.yaml" REED
grep -q 'did you mean "READ"' "$dir/err" || fail "no suggestion"
code "an unknown format" 2 "$vmctl" isa check "$dir/toy.yaml" -o xml
code "an unknown solver" 2 "$vmctl" isa check "$dir/toy.yaml" --solver mine
code "no file" 125 "$vmctl" isa check "$dir/nosuch.yaml"
sed -i 's/semantics: A = R;/semantics: A = RR;/' "$dir/toy.yaml"
code "a bad specification" 3 "$vmctl" isa check "$dir/toy.yaml"
grep -q 'toy.yaml:11:18: "RR" is unknown' "$dir/err" || fail "no place: $(cat "$dir/err")"
sed -i 's/semantics: A = RR;/semantics: A = 1;/' "$dir/toy.yaml"
code "not as expected" 4 "$vmctl" isa check "$dir/toy.yaml"
grep -q 'toy.yaml:10: READ: resource was expected and is not so' "$dir/out" || fail "not said: $(cat "$dir/out")"

finish
