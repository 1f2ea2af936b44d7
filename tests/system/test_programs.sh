#!/bin/bash
# RISC-V programs in guests of the real worker: the whole path.
. "$(dirname "$0")/lib.sh"
VMD_WORKER=$bin/vmd-worker
start_daemon
cc=riscv64-linux-gnu-gcc
mkdir -p "$dir/root/bin" "$dir/root/etc"
echo "from the image" >"$dir/root/etc/motd"
cat >"$dir/t.c" <<'C'
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
static void term(int n) { (void)n; write(1, "term\n", 5); _exit(3); }
int main(int c, char **v)
{
    char b[4096];
    ssize_t n;
    const char *w = c > 1 ? v[1] : "";
    if (!strcmp(w, "cat"))
        while ((n = read(0, b, sizeof b)) > 0)
            write(1, b, n);
    else if (!strcmp(w, "spin"))
        for (;;) __asm__ volatile("");
    else if (!strcmp(w, "term")) {
        signal(SIGTERM, term);
        puts("ready"), fflush(stdout);
        for (;;) pause();
    } else if (!strcmp(w, "crash"))
        *(volatile int *)16 = 1;
    else if (!strcmp(w, "motd")) {
        FILE *f = fopen("/etc/motd", "r");
        fputs(f && fgets(b, sizeof b, f) ? b : strerror(errno), stdout);
    } else if (!strcmp(w, "env"))
        printf("%s %s %u %u\n", getenv("A"), getcwd(b, sizeof b), getuid(), getgid());
    else if (!strcmp(w, "tty")) {
        struct winsize s = {0};
        printf("%d %d\n", isatty(0), ioctl(0, TIOCGWINSZ, &s));
    } else {
        fputs("to stderr\n", stderr);
        puts("hello");
        return 5;
    }
    return 0;
}
C
$cc -O1 -static -o "$dir/root/bin/t" "$dir/t.c" 2>"$dir/cc" || { cat "$dir/cc"; exit 1; }
run image import "$dir/root" --name root
expect "import" 0 "sha256-*"

g() { run run --image root "$@"; }
g t
expect "output, errors, exit code" 5 "hello" "to stderr"
g nosuch
expect "no such program" 125 "" "*nosuch*"
g t motd
expect "a file of the image" 0 "from the image"
g -e A=x -w /etc -u 7:8 t env
expect "environment, folder, user" 0 "x /etc 7 8"
g t crash
expect "a crash has its reason" 139 "" "*SIGSEGV*"
head -c 1000000 /dev/urandom >"$dir/big"
"$vmctl" run --image root t cat <"$dir/big" | cmp - "$dir/big" || fail "a megabyte through the guest"
g -t t tty
case $out in
"1 0"*) ;;
*) fail "-t gives a terminal: $out" ;;
esac
g --timeout 0.3 t spin
expect "a program that spins is killed" 124 "" "*longer than --timeout*"
g -d --name s t spin
run stop --grace 0.1 s
expect "SIGTERM ends what does not catch it" 0 ""
g -d --name h t term
eventually sh -c "$vmctl logs h | grep -q ready" || fail "it is ready"
run stop h
run wait h
expect "a handler decides the exit code" 0 "3"
printf 'not an ELF' >"$dir/root/bin/bad"
chmod 755 "$dir/root/bin/bad"
cp /bin/true "$dir/root/bin/wrong"
run image import "$dir/root" --name root
g bad
expect "not an ELF" 125 "" "*bad*"
g wrong
expect "another machine's program" 125 "" "*wrong*"
printf 'not an image' >"$dir/fake"
digest=sha256-$(sha256sum <"$dir/fake" | cut -d' ' -f1)
cp "$dir/fake" "$dir/state/images/$digest.erofs"
stop_daemon
start_daemon
run run --image "$digest" t
expect "not an image" 125 "" "?*"
n=$latency_runs
"$BUILD/tests/bin/system-latency" -n $n "$vmctl" run --rm -n --image root t motd >"$dir/latency" || fail "$n runs"
say "vmctl run of a static program, ms: median, p99, worst: $(cat "$dir/latency")"
for i in 1 2 3; do g -d --name busy$i t spin; done
"$BUILD/tests/bin/system-latency" -n $n -p "$vmctl run -d --rm --name victim --image root t spin >/dev/null" "$vmctl" kill victim \
    >"$dir/latency" || fail "$n kills"
say "vmctl kill beside three that spin, ms: median, p99, worst: $(cat "$dir/latency")"
run rm -f busy1 busy2 busy3
! grep -v 'workers are confined without' "$dir/log" | grep worker || fail "no worker died"
finish
