/*
 * tests/system/terminal.c - vmctl run -t on a pseudo-terminal: raw mode and its end, bytes, size, ^C, ^D. Run by
 * test_terminal.sh with $VMD_SOCKET and $VMCTL set.
 */
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct term {
    int master, slave; /* the slave stays open: settings outlive vmctl */
    pid_t pid;
    char seen[65536];
    size_t n;
};

static void begin(struct term *t, const char *const *args)
{
    struct winsize ws = {.ws_row = 20, .ws_col = 70};
    char *argv[16] = {getenv("VMCTL"), (char[]){"run"}, (char[]){"-t"}, (char[]){"--image"},
                      (char[]){"fake"}};
    int argc = 5;
    *t = (struct term){0};
    assert_int_equal(openpty(&t->master, &t->slave, NULL, NULL, &ws), 0);
    for (; *args; args++)
        argv[argc++] = (char *)(uintptr_t)*args;
    t->pid = fork();
    if (t->pid == 0) {
        close(t->master);
        login_tty(t->slave);
        execv(argv[0], argv);
        _exit(99);
    }
}

static bool raw(const struct term *t)
{
    struct termios now;
    assert_int_equal(tcgetattr(t->slave, &now), 0);
    return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
}

static bool wait_raw(const struct term *t)
{
    for (int i = 0; i < 500 && !raw(t); i++)
        usleep(10000);
    return raw(t);
}

static bool wait_text(struct term *t, const char *text)
{
    struct pollfd p = {.fd = t->master, .events = POLLIN};
    while (!strstr(t->seen, text)) {
        if (poll(&p, 1, 5000) <= 0)
            return false;
        ssize_t n = read(t->master, t->seen + t->n, sizeof t->seen - 1 - t->n);
        if (n <= 0)
            return false;
        t->n += (size_t)n;
    }
    return true;
}

static void type(struct term *t, const char *text)
{
    assert_int_equal(write(t->master, text, strlen(text)), (ssize_t)strlen(text));
}

static int end(struct term *t)
{
    int status;
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    assert_false(raw(t));
    close(t->master);
    close(t->slave);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void bytes_pass_raw_and_the_terminal_is_restored(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"cat", NULL});
    assert_true(wait_raw(&t));
    type(&t, "hello\r");
    assert_true(wait_text(&t, "hello\r"));
    type(&t, "\x04"); /* ^D is the guest's to understand */
    assert_int_equal(end(&t), 0);
}

static void control_c_is_a_byte_for_the_guest(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"cat", NULL});
    assert_true(wait_raw(&t));
    type(&t, "x\x03");
    assert_int_equal(end(&t), 130);
}

static void the_size_follows_the_window(void **state)
{
    (void)state;
    struct term t;
    struct winsize ws = {.ws_row = 33, .ws_col = 99};
    begin(&t, (const char *const[]){"size", NULL});
    assert_true(wait_raw(&t));
    assert_int_equal(ioctl(t.master, TIOCSWINSZ, &ws), 0); /* SIGWINCH to vmctl */
    assert_true(wait_text(&t, "33 99"));
    assert_int_equal(end(&t), 0);
}

static void the_terminal_is_restored_when_vmctl_is_told_to_end(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"spin", NULL});
    assert_true(wait_raw(&t));
    for (int i = 0; i < 3; i++) { /* the third one kills */
        kill(t.pid, SIGTERM);
        usleep(50000);
    }
    assert_int_equal(end(&t), 137);
}

static void a_refusal_leaves_the_terminal_alone(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"missing", NULL});
    assert_true(wait_text(&t, "no such program"));
    assert_int_equal(end(&t), 125);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_raw_and_the_terminal_is_restored),
        cmocka_unit_test(control_c_is_a_byte_for_the_guest),
        cmocka_unit_test(the_size_follows_the_window),
        cmocka_unit_test(the_terminal_is_restored_when_vmctl_is_told_to_end),
        cmocka_unit_test(a_refusal_leaves_the_terminal_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
