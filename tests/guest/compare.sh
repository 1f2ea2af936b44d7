#!/bin/sh
# compare.sh - what a guest program must print, and whether it does.
#
#   compare.sh reference SOURCES NAME OUT PROGRAM [args...]     write OUT: SOURCES/NAME.expect if there is one, else what the
#                                                               program prints under $QEMU, with the lines of
#                                                               SOURCES/NAME.linux in place of those that begin alike
#                                                               (up to the colon): where QEMU's user mode is not Linux
#   compare.sh run REFERENCE VVRUN [options] PROGRAM [args...]  run it in a guest, compare
#   compare.sh native SOURCES NAME OUT PROGRAM [args...]        the reference by running a native build (to make .expect)
#
# Output is stdout and a last line `exit N`. The program's folder is new, empty and writable by everybody.
set -eu

mode=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
mkdir -m 1777 "$tmp/d"

# run COMMAND...: its output and exit line to stdout; stdin is empty, stdout a pipe
run() {
    { (cd "$tmp/d" && "$@" </dev/null 2>"$tmp/err") && echo "exit 0" || echo "exit $?"; } | cat
}

case $mode in
reference | native)
    sources=$1 name=$2 out=$3
    shift 3
    if [ "$mode" = reference ] && [ -f "$sources/$name.expect" ]; then
        cp "$sources/$name.expect" "$out"
        exit 0
    fi
    if [ "$mode" = reference ]; then
        run timeout 120 "$QEMU" "$@" >"$tmp/out"
    else
        run timeout 120 "$@" >"$tmp/out"
    fi
    if [ "$mode" = reference ] && [ -f "$sources/$name.linux" ]; then
        awk -F': ' 'NR == FNR { if ($0 !~ /^#/) right[$1] = $0; next } $1 in right { used[$1] = 1; print right[$1]; next } { print }
            END { for (k in right) if (!(k in used)) { print "no such line: " k; exit 1 } }' \
            "$sources/$name.linux" "$tmp/out" >"$tmp/out2"
        mv "$tmp/out2" "$tmp/out"
    fi
    cat "$tmp/err" >&2
    if ! tail -n 1 "$tmp/out" | grep -q '^exit '; then
        echo "no exit line" >&2
        exit 1
    fi
    cp "$tmp/out" "$out"
    ;;
run)
    reference=$1
    shift
    run "$@" >"$tmp/out"
    if ! diff -u --label wanted --label got "$reference" "$tmp/out"; then
        cat "$tmp/err" >&2
        exit 1
    fi
    ;;
*)
    sed -n '2,12p' "$0" >&2
    exit 2
    ;;
esac
