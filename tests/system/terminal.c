/*
 * tests/system/terminal.c - vmctl on a pseudo-terminal: raw mode and its end, bytes, size, ^C, ^D, the keys that leave a guest, crashes.
 * Run by test_terminal.sh with $VMD_SOCKET and $VMCTL set.
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

static void begin_command(struct term *t, const char *const *args)
{
    struct winsize ws = {.ws_row = 20, .ws_col = 70};
    char *argv[24] = {getenv("VMCTL")};
    int argc = 1;
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

/* vmctl run -t --image fake ARGS... */
static void begin(struct term *t, const char *const *args)
{
    const char *all[24] = {"run", "-t", "--image", "fake"};
    for (size_t n = 4; *args; n++)
        all[n] = *args++;
    begin_command(t, all);
}

static bool raw(const struct term *t)
{
    struct termios now;
    assert_int_equal(tcgetattr(t->slave, &now), 0);
    return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
}

static bool line_by_line(const struct term *t)
{
    struct termios now;
    assert_int_equal(tcgetattr(t->slave, &now), 0);
    return (now.c_lflag & (ICANON | ECHO)) == (ICANON | ECHO);
}

static bool wait_raw(const struct term *t)
{
    for (int i = 0; i < 500 && !raw(t); i++)
        usleep(10000);
    return raw(t);
}

static bool read_more(struct term *t)
{
    struct pollfd p = {.fd = t->master, .events = POLLIN};
    if (poll(&p, 1, 5000) <= 0)
        return false;
    ssize_t n = read(t->master, t->seen + t->n, sizeof t->seen - 1 - t->n);
    t->n += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static bool wait_text(struct term *t, const char *text)
{
    while (!strstr(t->seen, text))
        if (!read_more(t))
            return false;
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
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
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

static void the_keys_leave_the_guest_and_attach_comes_back(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"--name", "left", "cat", NULL});
    assert_true(wait_raw(&t));
    type(&t, "one\x10two\r");
    assert_true(wait_text(&t, "one\x10two\r")); /* the first key alone is a byte like others */
    type(&t, "\x10\x11");
    assert_true(wait_text(&t, "detached from guest \"left\""));
    assert_int_equal(end(&t), 0);

    begin_command(&t, (const char *const[]){"attach", "left", NULL});
    assert_true(wait_raw(&t));
    assert_true(wait_text(&t, "ctrl-p ctrl-q leaves it running"));
    assert_true(wait_text(&t, "two")); /* the log is replayed */
    type(&t, "three\r");
    assert_true(wait_text(&t, "three\r"));
    type(&t, "\x04");
    assert_int_equal(end(&t), 0);
}

static void other_keys_can_be_chosen_or_none(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"--detach-keys", "ctrl-],q", "--name", "other", "cat", NULL});
    assert_true(wait_raw(&t));
    type(&t, "\x10\x11\x1dx");
    assert_true(wait_text(&t, "\x10\x11\x1dx"));
    type(&t, "\x1dq");
    assert_int_equal(end(&t), 0);
    begin_command(&t, (const char *const[]){"attach", "--detach-keys", "", "other", NULL});
    assert_true(wait_raw(&t));
    type(&t, "\x10\x11\x1dq.");
    assert_true(wait_text(&t, "\x10\x11\x1dq."));
    type(&t, "\x03");
    assert_int_equal(end(&t), 130);
}

static void top_looks_again_and_leaves_the_screen_as_it_was(void **state)
{
    (void)state;
    struct term t;
    begin(&t, (const char *const[]){"--name", "watched", "cat", NULL});
    assert_true(wait_raw(&t));
    type(&t, "\x10\x11");
    assert_int_equal(end(&t), 0);

    begin_command(&t, (const char *const[]){"top", "--interval", "100ms", NULL});
    assert_true(wait_text(&t, "by cpu"));
    assert_false(line_by_line(&t));
    assert_true(wait_text(&t, "watched"));
    type(&t, "m");
    assert_true(wait_text(&t, "by memory"));
    type(&t, "nr");
    assert_true(wait_text(&t, "by name, reversed"));
    size_t drawn = t.n; /* it goes on looking by itself */
    while (t.n < drawn + 500)
        assert_true(read_more(&t));
    type(&t, "q");
    for (int i = 0; i < 500 && !line_by_line(&t); i++)
        usleep(10000);
    assert_true(line_by_line(&t));
    assert_int_equal(end(&t), 0);

    begin_command(&t, (const char *const[]){"kill", "watched", NULL});
    assert_int_equal(end(&t), 0);
}

static void a_crash_restores_the_terminal(void **state)
{
    (void)state;
    static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct term t;
        begin(&t, (const char *const[]){"--rm", "cat", NULL});
        assert_true(wait_raw(&t));
        kill(t.pid, signals[i]);
        assert_int_equal(end(&t), -signals[i]); /* end() looks at the terminal too */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_raw_and_the_terminal_is_restored),
        cmocka_unit_test(control_c_is_a_byte_for_the_guest),
        cmocka_unit_test(the_size_follows_the_window),
        cmocka_unit_test(the_terminal_is_restored_when_vmctl_is_told_to_end),
        cmocka_unit_test(a_refusal_leaves_the_terminal_alone),
        cmocka_unit_test(the_keys_leave_the_guest_and_attach_comes_back),
        cmocka_unit_test(other_keys_can_be_chosen_or_none),
        cmocka_unit_test(top_looks_again_and_leaves_the_screen_as_it_was),
        cmocka_unit_test(a_crash_restores_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
