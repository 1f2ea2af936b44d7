#include "client/vmctl/terminal.h"
#include "engine/base/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static volatile sig_atomic_t is_set, on_other_screen;

#define OTHER_SCREEN "\033[?1049h\033[?25l"
#define OWN_SCREEN "\033[?25h\033[?1049l"

/* Both calls are async-signal-safe. */
void ctl_terminal_restore(void)
{
    if (on_other_screen && write(1, OWN_SCREEN, sizeof OWN_SCREEN - 1) < 0)
        on_other_screen = 0;
    on_other_screen = 0;
    if (is_set)
        tcsetattr(0, TCSADRAIN, &saved);
    is_set = 0;
}

/* The signal's own effect follows when the handler returns: it is reset and raised again. */
static void on_fatal(int signo)
{
    ctl_terminal_restore();
    raise(signo);
}

static void catch_fatal(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE,  SIGABRT, SIGSYS,
                                SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGXCPU};
    struct sigaction sa = {.sa_handler = on_fatal, .sa_flags = SA_RESETHAND};
    sigfillset(&sa.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        sigaction(fatal[i], &sa, NULL); /* those that a signalfd takes are blocked */
}

void ctl_terminal_set(enum ctl_terminal_mode mode)
{
    static bool prepared;
    struct termios now;
    if (is_set || !isatty(0) || tcgetattr(0, &saved))
        return;
    if (!prepared) {
        catch_fatal();
        atexit(ctl_terminal_restore);
        prepared = true;
    }
    now = saved;
    if (mode == CTL_TERMINAL_RAW) {
        cfmakeraw(&now);
    } else {
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        now.c_cc[VMIN] = 1;
        now.c_cc[VTIME] = 0;
    }
    is_set = 1; /* before it is: a signal between the two restores what is there */
    if (tcsetattr(0, TCSADRAIN, &now)) {
        is_set = 0;
        return;
    }
    if (mode == CTL_TERMINAL_KEYS && isatty(1)) {
        on_other_screen = 1;
        if (write(1, OTHER_SCREEN, sizeof OTHER_SCREEN - 1) < 0)
            on_other_screen = 0;
    }
}

bool ctl_terminal_size(uint32_t *rows, uint32_t *cols)
{
    struct winsize ws;
    for (int fd = 0; fd < 3; fd++)
        if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_row && ws.ws_col) {
            *rows = ws.ws_row;
            *cols = ws.ws_col;
            return true;
        }
    return false;
}

/* After `matched` keys came b, which is not the next one: how many are matched now? The longest beginning of the keys that ends
 * what was typed. */
static size_t fall_back(const struct ctl_detach *d, uint8_t b)
{
    for (size_t n = d->matched; n > 0; n--)
        if (d->keys[n - 1] == b && !memcmp(d->keys, d->keys + (d->matched - n + 1), n - 1))
            return n;
    return 0;
}

bool ctl_detach_filter(struct ctl_detach *d, const uint8_t *in, size_t n, uint8_t *out,
                       size_t *out_n)
{
    *out_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (d->count && in[i] == d->keys[d->matched]) {
            if (++d->matched == d->count) {
                d->matched = 0;
                return true;
            }
            continue;
        }
        size_t keep = d->count ? fall_back(d, in[i]) : 0;
        /* held + this byte = passed on + kept */
        size_t pass = d->matched + 1 - keep;
        for (size_t k = 0; k < pass; k++)
            out[(*out_n)++] = k < d->matched ? d->keys[k] : in[i];
        d->matched = keep;
    }
    return false;
}
