#!/bin/bash
# vmctl itself: outputs, suggestions, help, manual, completion in three shells, contexts, the daemon it starts by itself, start and attach.
. "$(dirname "$0")/lib.sh"
fake_image
export XDG_CONFIG_HOME=$dir/config
start_daemon

# ---- create, start, inspect, wait, in every form
run create --image fake --name c1 -l team=blue -- exit 3
expect "create prints the name" 0 "c1"
run ps -q
expect "it does not run yet" 0 "c1"
run inspect c1 -o json
expect "inspect" 0 '*"state": "GUEST_STATE_CREATED"*'
printf '%s' "$out" | /usr/bin/python3 -c 'import json,sys; g=json.load(sys.stdin); assert g["args"]==["exit","3"], g' || fail "inspect's JSON"
run start -a -n c1
expect "start -a ends with the guest's code" 3 ""
run wait c1 -o json
expect "wait -o json tells how" 0 '*"kind": "END_KIND_EXIT"*"code": 3*'
run inspect c1
expect "inspect is YAML" 0 'name: c1*state: GUEST_STATE_ENDED*'
run ps -a -o jsonl
expect "a line for each" 0 '{"name":"c1",*}'
run ps -a -o yaml
expect "an array in YAML" 0 '- name: c1*'
run ps -a -o name
expect "names" 0 'c1'
run ps -a --no-headers
expect "no headings" 0 'c1 *exit 3*'
run ps -a -o wide
expect "wide" 0 'NAME*TENANT*WORKER*LABELS*'
run ps -o json
expect "an empty array" 0 '\[\]'
run ps -o xml
expect "no such form" 2 "" '*table|wide|json|jsonl|yaml|name was expected*'
run run --image fake limit
expect "a limit" 125 "" "*limit*"
run wait -o json "$("$vmctl" ps -aq | grep -vx c1 | head -n 1)"
expect "a limit's reason is in JSON" 0 '*"kind": "END_KIND_LIMIT"*"text": "*'
[ "$(printf hi | "$vmctl" run --image fake --entrypoint cat)" = hi ] || fail "--entrypoint without arguments"
run run --image fake --restart sometimes echo
expect "a wrong policy" 2 "" '*never, on-failure, on-failure:N or always was expected*'
run run --image fake --label x echo
expect "a wrong label" 2 "" '*--label x: KEY=VALUE was expected*'
run logs --since soon c1
expect "a wrong time" 2 "" '*--since soon: a time ago*'
run events --type guest-endde
expect "a wrong event" 2 "" '*did you mean guest-ended*'

# ---- typos
run strat
expect "a command" 2 "" '*unknown command "strat"; did you mean "start"*'
run image lss
expect "a second word" 2 "" '*did you mean "ls"*'
run run --imgae fake
expect "an option" 2 "" '*unknown option --imgae (did you mean --image?); see "vmctl run --help"*'
run image
expect "half a command" 2 "" '*image what? There is: import*'
run ps --socket "$dir/nosuch"
expect "no daemon there" 125 "" '*no daemon at *'
run -H tcp+tls://localhost:1 ps
expect "TLS needs files" 125 "" '*--tls-ca, --tls-cert and --tls-key are needed*'

# ---- help, manual
run help --json
printf '%s' "$out" | /usr/bin/python3 -c '
import json, sys
h = json.load(sys.stdin)
names = [c["command"] for c in h["commands"]]
assert len(names) == len(set(names)) and "run" in names and "__complete" not in names
assert all(o["help"] for c in h["commands"] for o in c["options"])
assert {e["code"] for e in h["exitCodes"]} >= {"0", "2", "124", "125", "128+N"}
' || fail "help --json"
run manpage "$dir/man"
expect "manpage" 0 ""
ls "$dir"/man/vmctl.1 "$dir"/man/vmctl-run.1 "$dir"/man/vmctl-image-ls.1 >/dev/null || fail "pages"
if command -v groff >/dev/null; then
    for page in "$dir"/man/*.1; do
        said=$(groff -man -ww -z "$page" 2>&1)
        [ -z "$said" ] || fail "groff: $said"
    done
fi

# ---- completion: what it offers, in each shell, and how long it takes
offers() { "$vmctl" __complete "$@" | cut -f1 | tr '\n' ' '; }
"$vmctl" run -d --image fake --name sleeper sleep >/dev/null
case $(offers st) in *start*stop*) ;; *) fail "commands: $(offers st)" ;; esac
case $(offers image '') in *import*ls*) ;; *) fail "second words: $(offers image '')" ;; esac
case $(offers stop sl) in sleeper\ ) ;; *) fail "guests: $(offers stop sl)" ;; esac
case $(offers run --image fa) in fake\ ) ;; *) fail "images: $(offers run --image fa)" ;; esac
case $(offers run --image=fa) in --image=fake\ ) ;; *) fail "images behind =: $(offers run --image=fa)" ;; esac
case $(offers ps -o js) in "json jsonl ") ;; *) fail "forms: $(offers ps -o js)" ;; esac
case $(offers run --re) in *--restart*) ;; *) fail "options: $(offers run --re)" ;; esac
case $(offers kill -s HU) in HUP\ ) ;; *) fail "signals: $(offers kill -s HU)" ;; esac
[ "$(offers image import '')" = ":files " ] || fail "folders and archives: $(offers image import '')"
[ -z "$(VMD_SOCKET=$dir/nosuch "$vmctl" __complete stop '' 2>&1)" ] || fail "without a daemon completion is silent"
kill -STOP "$daemon"
before=$(date +%s%N)
[ -z "$("$vmctl" __complete stop '' 2>&1)" ] || fail "a daemon that hangs is not waited for"
took=$((($(date +%s%N) - before) / 1000000))
kill -CONT "$daemon"
[ $took -lt 2000 ] || fail "completion took $took ms" # its budget is 250; the machine may be busy
PATH=$bin:$PATH bash -c '
source <(vmctl completion bash)
COMP_LINE="vmctl stop sl" COMP_POINT=13 COMP_WORDS=(vmctl stop sl) COMP_CWORD=2
_vmctl
[ "${COMPREPLY[*]}" = sleeper ] || { echo "bash: ${COMPREPLY[*]}"; exit 1; }
COMP_LINE="vmctl run --image=fa" COMP_POINT=20
_vmctl
[ "${COMPREPLY[*]}" = fake ] || { echo "bash: ${COMPREPLY[*]}"; exit 1; }' || fail "bash"
if command -v zsh >/dev/null; then
    "$vmctl" completion zsh >"$dir/_vmctl"
    zsh -n "$dir/_vmctl" || fail "zsh"
fi
if command -v fish >/dev/null; then
    mkdir -p "$XDG_CONFIG_HOME/fish/completions"
    "$vmctl" completion fish >"$XDG_CONFIG_HOME/fish/completions/vmctl.fish"
    got=$(PATH=$bin:$PATH HOME=$dir fish -c 'complete -C "vmctl stop sl"' | cut -f1)
    [ "$got" = sleeper ] || fail "fish: $got"
fi

# ---- contexts
run context add here "unix://$VMD_SOCKET" --current
expect "context add" 0 ""
[ "$(stat -c %a "$XDG_CONFIG_HOME/vmctl/config.yaml")" = 600 ] || fail "the configuration is private"
socket=$VMD_SOCKET
unset VMD_SOCKET
run ps -q
expect "the current context is used" 0 "sleeper"
run --context nosuch ps
expect "no such context" 125 "" '*no context "nosuch"*'
VMCTL_HOST=unix://$dir/nosuch run ps
expect "the environment goes before it" 125 "" "*no daemon at $dir/nosuch*"
run -H "unix://$socket" --context default ps -q
expect "a flag goes before all" 0 "sleeper"
run context ls
expect "context ls" 0 "*here*\**unix://$socket*"
run context rm here
expect "context rm" 0 ""
printf 'curent: x\n' >"$XDG_CONFIG_HOME/vmctl/config.yaml"
run context ls
expect "a mistake in the file" 125 "" '*config.yaml:1:1: unknown key "curent"; did you mean current*'
rm "$XDG_CONFIG_HOME/vmctl/config.yaml"
export VMD_SOCKET=$socket

# ---- attach: a reader beside the writer; what is gone
"$vmctl" attach -n sleeper >"$dir/reader" 2>&1 &
reader=$!
eventually takes_interrupts $reader || fail "a reader takes interrupts"
kill -INT $reader
wait $reader
[ $? = 0 ] || fail "a reader's interrupt ends only the reader"
run ps -q
expect "the guest runs on" 0 "sleeper"
run attach nosuch
expect "attach to nothing" 125 "" '*no guest "nosuch"*'
run kill sleeper

# ---- doctor knows what it can see itself
run doctor -o jsonl
case $out in *'"name":"socket","verdict":"DOCTOR_VERDICT_OK"'*'"name":"versions","verdict":"DOCTOR_VERDICT_OK"'*) ;; *) fail "doctor: $out" ;; esac
stop_daemon
run doctor
expect "doctor without a daemon" 125 '*daemon*failed*no daemon at*'

# ---- a daemon of one's own, started when it is needed, once; as a user who may own nothing else
unset VMD_SOCKET
own=$dir/own
mkdir -p "$own/run" "$own/data"
if [ "$(id -u)" = 0 ]; then
    chmod 755 "$dir"
    chown -R 12345:12345 "$own"
    as="setpriv --reuid=12345 --regid=12345 --clear-groups env HOME=$own"
else
    as=env
fi
chmod 700 "$own/run"
user() { timeout -s KILL 20 $as XDG_RUNTIME_DIR="$own/run" XDG_DATA_HOME="$own/data" XDG_CONFIG_HOME="$own/config" "$vmctl" "$@"; }
if $as test -x "$vmctl"; then
    user --no-autostart ps >"$dir/out" 2>&1 && fail "--no-autostart started one"
    grep -q 'no daemon at .*; start it with' "$dir/out" || fail "--no-autostart: $(cat "$dir/out")"
    for i in 1 2 3 4 5; do
        user ps -q >"$dir/own$i" 2>&1 || fail "client $i of five: $(cat "$dir/own$i")" &
    done
    wait
    pids=$(user version -o json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
    running=$(pgrep -f "^$bin/vmd --daemonize" -u "$($as id -u)" | wc -l)
    [ -n "$pids" ] && kill "$pids"
    [ "$running" = 1 ] || fail "five clients started $running daemons"
    eventually sh -c "! kill -0 $pids" || fail "it ends"
    chmod 500 "$own/data" && rm -rf "$own/data/vmd" 2>/dev/null
    if [ "$(id -u)" = 0 ]; then
        rm -rf "$own/data/vmd"
        user ps >"$dir/out" 2>&1 && fail "a daemon without a state folder"
        grep -q 'vmd did not start: .*; see .*vmd.log' "$dir/out" || fail "why it did not start: $(cat "$dir/out")"
    fi
fi
finish
