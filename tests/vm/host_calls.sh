#!/bin/sh
# host_calls.sh BIN_DIR LIST ROOT PROGRAM... - no guest system call passes through to the host kernel.
#
# LIST is the table of daemon/worker. Runs vmd under strace, lets guests of its worker run a shell and every riscv64 PROGRAM in an image made of the folder
# ROOT (with busybox in it), and then checks of every thread of every worker, from its first wait in the loop on: each host call stands in LIST, and no
# name that a guest uses is an argument of one (but where console bytes cross the manager's socket).
set -eu
bin=$1 list=$2 image=$3
shift 3
dir=$(mktemp -d)
vmd=
# strace does not pass a signal on
stop() { kill "$(pgrep -P "$vmd" -x vmd || echo "$vmd")" 2>/dev/null || :; }
cleanup() {
    [ -z "$vmd" ] || stop
    wait 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT
export VMD_SOCKET="$dir/vmd.sock"
vmctl() { "$bin/vmctl" "$@"; }

strace -f -qq -s 4096 -e signal=none -o "$dir/trace" \
    "$bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" >"$dir/vmd.log" 2>&1 &
vmd=$!
n=0
until vmctl ps >/dev/null 2>&1; do
    n=$((n + 1))
    [ $n -lt 200 ] || { cat "$dir/vmd.log"; echo "host_calls: vmd does not answer"; exit 1; }
    sleep 0.05
done
cp -a "$image" "$dir/root"
mkdir "$dir/root/suite"
cp "$@" "$dir/root/suite"
vmctl image import "$dir/root" --name suite >/dev/null

# A name no library uses: in the host's trace it may stand in console bytes only, and the guest prints none.
marker=zqguestmarker
vmctl run --image suite -- sh -c "
    mkdir -p /tmp/$marker; cd /tmp/$marker; echo x > $marker.a; cat $marker.a > /dev/null; ln -s $marker.a $marker.b
    mv $marker.b $marker.c; ls $marker.none 2>/dev/null; cp $marker.a $marker.d; chmod 600 $marker.d; rm $marker.d
    sh -c ': $marker' & wait; find / -xdev -name '$marker*' > /dev/null"
ran=0
for program; do
    vmctl run --image suite -w /tmp -- "/suite/${program##*/}" >/dev/null 2>&1 </dev/null || :
    ran=$((ran + 1))
done
vmctl image ls >/dev/null
stop
wait $vmd 2>/dev/null || :
vmd=

awk -v marker=$marker '
    FNR == NR { if (match($0, /^(RULE|REFUSE)\([a-z0-9_]+/)) { sub(/^[A-Z]+\(/, ""); sub(/,.*/, ""); allowed[$0] = 1 }; next }
    {
        pid = $1
        line = substr($0, index($0, $2))
        if (line ~ /^<\.\.\. /) { split(line, w, " "); call = w[2] } else { call = line; sub(/\(.*/, "", call) }
        if (call !~ /^[a-z0-9_]+$/) next
        if (call == "execve" && line ~ /vmd-worker"/) worker[pid] = 1
        # a thread of a worker tells its name; clone returns its number in another namespace
        if (call == "prctl" && line ~ /PR_SET_NAME, "(vcpu [0-9]*|translator|ticker)"/) worker[pid] = 2
        if (!worker[pid]) next
        if (call ~ /^epoll_p?wait/) { if (worker[pid] != 2) workers++; worker[pid] = 2 }
        if (worker[pid] != 2) next
        seen[call]++
        if (!(call in allowed) && !(call in told)) { told[call] = 1; print "not on the list: " line; bad = 1 }
        if (index(line, marker) && call !~ /^(sendmsg|recvmsg|writev|readv|read|write)$/) {
            print "a name of the guest in a host call: " substr(line, 1, 300); bad = 1
        }
    }
    END {
        if (!workers) { print "no worker was seen"; exit 1 }
        n = 0
        for (call in seen) { n++; total += seen[call] }
        printf "%d workers, %d host calls of %d kinds\n", workers, total, n
        exit bad
    }' "$list" "$dir/trace"
echo "host_calls: $ran programs"
