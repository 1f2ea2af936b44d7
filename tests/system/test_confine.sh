#!/bin/bash
# The layers of confinement as the kernel shows them, with root, without, and on a host that refuses namespaces.
. "$(dirname "$0")/lib.sh"
export VMD_WORKER=$BUILD/bin/vmd-worker
chmod 755 "$dir"
mkdir "$dir/root"
cp "$BUILD/tests/vm/guest/hello" "$dir/root/hello" || exit 1
filtered=yes
grep -q '^VV_SANITIZE:.*=.' "$BUILD/CMakeCache.txt" && filtered=

ask=
verdict() { $ask "$BUILD/tests/bin/system-doctor" | sed -n "s/^\([A-Z]*\)|$1|.*/\1/p"; }
worker() { pgrep -P "$daemon" -f vmd-worker | head -n 1; }
status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(worker)/status"; }

all_layers() {
    [ "$(status CapEff)$(status CapPrm)$(status CapBnd)$(status CapAmb)" = "$(printf '0%.0s' $(seq 64))" ] ||
        fail "$1: capabilities $(status CapEff) $(status CapPrm) $(status CapBnd)"
    [ "$(status NoNewPrivs)" = 1 ] || fail "$1: new privileges"
    [ -z "$filtered" ] || [ "$(status Seccomp)" = 2 ] || fail "$1: no filter"
    case $(status Uid) in 0*) fail "$1: the worker is root" ;; esac
    for ns in user pid mnt net ipc uts cgroup; do
        [ "$(readlink "/proc/$(worker)/ns/$ns")" != "$(readlink "/proc/$daemon/ns/$ns")" ] || fail "$1: shares its $ns namespace"
    done
    [ -z "$(ls -A "/proc/$(worker)/root")" ] || fail "$1: files in its root"
    grep -q 'Max core file size *0 *0' "/proc/$(worker)/limits" || fail "$1: it may leave a core"
    [ -n "$(tr -d '\0' <"/proc/$(worker)/environ")" ] && [ -n "$filtered" ] && fail "$1: it has an environment"
    for layer in "user namespace" "pid namespace" "empty root" "no capabilities" "not dumpable" "resource limits"; do
        [ "$(verdict "$layer")" = OK ] || fail "$1: doctor says $(verdict "$layer") of $layer"
    done
    [ -z "$filtered" ] || [ "$(verdict seccomp)" = OK ] || fail "$1: doctor says $(verdict seccomp) of seccomp"
}

works() {
    "$vmctl" image import "$dir/root" --name hello >/dev/null || fail "$1: image import"
    run run --image hello -- /hello
    expect "$1: a guest runs" 0 "*"
    [ "$(verdict worker)" = OK ] || fail "$1: doctor says $(verdict worker) of the worker"
}

# 1. As whoever runs the tests.
start_daemon
works "as $(id -un)"
all_layers "as $(id -un)"
stop_daemon
rm -rf "$dir/state" "$dir/run"

# As in the unit (MemoryDenyWriteExecute): who makes memory executable that was written to is refused. Linux 6.3 has it without systemd.
cat >"$dir/mdwe" <<'EOF'
#!/usr/bin/env python3
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    print("this kernel has no PR_SET_MDWE: the guest runs without", file=sys.stderr)
os.execv(sys.argv[1], sys.argv[1:])
EOF
chmod 755 "$dir/mdwe"
if [ -n "$filtered" ]; then # a sanitizer makes memory executable
    VMD_AS=$dir/mdwe
    start_daemon
    works "without memory that is written and executed"
    VMD_AS=
    stop_daemon
    rm -rf "$dir/state" "$dir/run"
fi

# 2. As a user without any right, and as one on a host without namespaces.
if [ "$(id -u)" = 0 ]; then
    chown 12345 "$dir"
    VMD_AS="setpriv --reuid 12345 --regid 12345 --clear-groups --bounding-set=-all --inh-caps=-all"
    start_daemon
    works "as a user"
    all_layers "as a user"
    stop_daemon
    rm -rf "$dir/state" "$dir/run"

    cat >"$dir/refuse" <<'EOF'
#!/bin/sh
# In a user namespace that may have none below it.
echo 0 >/proc/sys/user/max_user_namespaces
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
EOF
    chmod 755 "$dir/refuse"
    ask="setpriv --reuid 12345 --regid 12345 --clear-groups"
    printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$ask" "$vmctl" >"$dir/vmctl" # root is nobody in there
    chmod 755 "$dir/vmctl"
    vmctl=$dir/vmctl
    VMD_AS="$ask unshare -r $dir/refuse"
    start_daemon
    works "without namespaces"
    for layer in "user namespace" "pid namespace" "mount namespace" "empty root" "network namespace"; do
        [ "$(verdict "$layer")" = WARNING ] || fail "without namespaces: doctor says $(verdict "$layer") of $layer"
    done
    for layer in "no new privileges" "no capabilities" "no foreign descriptors" "not dumpable"; do
        [ "$(verdict "$layer")" = OK ] || fail "without namespaces: doctor says $(verdict "$layer") of $layer"
    done
    [ -z "$filtered" ] || [ "$(status Seccomp)" = 2 ] || fail "without namespaces: no filter"
    grep -q 'workers are confined without: .*user namespace' "$dir/log" || fail "the log does not say what is missing"
fi
finish
