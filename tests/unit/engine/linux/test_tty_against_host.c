// links: engine/linux
/* The same keys are typed at a pseudo-terminal of the host's kernel and at an emulated one, in random modes; what programs read
 * and what the screen shows must agree. The host's kernel moves bytes in a work queue: it is given time to reach our answer. */
#include "fake_lx.h"

#include "engine/linux/tty.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

struct ktermios_ {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
};

static struct lx_process *me;
static struct rng rng;
static int host_master, host_slave;
static int64_t master, slave;
static char journal[65536];
static size_t journal_len;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (journal_len < sizeof journal - 200)
        journal_len += (size_t)vsnprintf(journal + journal_len, 200, fmt, ap);
    va_end(ap);
}

static void note_bytes(const char *what, const uint8_t *p, int64_t n)
{
    note("%s %lld [", what, (long long)n);
    for (int64_t k = 0; k < n && k < 100; k++)
        note(p[k] >= 32 && p[k] < 127 ? "%c" : "\\%o", p[k]);
    note("]\n");
}

static void open_both(void)
{
    int zero = 0, n;
    char name[32];
    host_master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_true(host_master >= 0);
    assert_int_equal(ioctl(host_master, TIOCSPTLCK, &zero), 0);
    assert_int_equal(ioctl(host_master, TIOCGPTN, &n), 0);
    snprintf(name, sizeof name, "/dev/pts/%d", n);
    host_slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    assert_true(host_slave >= 0);
    master = G(me, openat, A(AT_FDCWD), A(str("/dev/ptmx")), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_int_equal(G(me, ioctl, A(master), TIOCSPTLCK, A(mem(4))), 0);
    slave = G(me, openat, A(AT_FDCWD), A(str("/dev/pts/0")), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(slave >= 0);
}

static void random_mode(void)
{
    static const uint32_t lbits[] = {ISIG,    ICANON, ECHO,   ECHOE,  ECHOK,
                                     ECHOCTL, ECHOKE, IEXTEN, ECHONL, NOFLSH};
    static const uint32_t ibits[] = {ICRNL, INLCR, IGNCR, ISTRIP, IUCLC};
    static const uint32_t obits[] = {OPOST, ONLCR, OCRNL, ONLRET, ONOCR, OLCUC};
    struct ktermios_ *t = mem(sizeof *t);
    assert_int_equal(ioctl(host_slave, TCGETS, t), 0);
    t->iflag = t->oflag = 0;
    for (size_t k = 0; k < ARRAY_LEN(lbits); k++)
        t->lflag = rng_below(&rng, 4) ? t->lflag | lbits[k] : t->lflag & ~lbits[k];
    for (size_t k = 0; k < ARRAY_LEN(ibits); k++)
        t->iflag |= rng_below(&rng, 5) ? 0 : ibits[k];
    for (size_t k = 0; k < ARRAY_LEN(obits); k++)
        t->oflag |= rng_below(&rng, k < 2 ? 2 : 6) ? 0 : obits[k];
    if (rng_below(&rng, 3) == 0)
        t->oflag |= XTABS;
    if (rng_below(&rng, 3) == 0)
        t->iflag |= IUTF8;
    t->cc[VMIN] = 1;
    t->cc[VTIME] = 0;
    t->cc[VEOL] = rng_below(&rng, 3) ? 0 : 'Q';
    assert_int_equal(ioctl(host_slave, TCSETS, t), 0);
    assert_int_equal(G(me, ioctl, A(slave), TCSETS, A(t)), 0);
    note("mode i %o o %o l %o eol %d\n", t->iflag, t->oflag, t->lflag, t->cc[VEOL]);
    struct ktermios_ *a = mem(sizeof *a), *b = mem(sizeof *b);
    assert_int_equal(ioctl(host_slave, TCGETS, a), 0);
    assert_int_equal(G(me, ioctl, A(slave), TCGETS, A(b)), 0);
    assert_memory_equal(a, b, sizeof *a);
}

/* What fd gives on the host, in as many pieces as it comes, until it is as long as what the guest gave. */
static int64_t host_read(int fd, uint8_t *p, size_t n, int64_t wanted, bool pieces)
{
    int64_t done = 0;
    for (int tries = 0; tries < 400; tries++) {
        ssize_t k = read(fd, p + done, n - (size_t)done);
        if (k > 0)
            done += k;
        if (k == 0 && !done)
            return wanted == -EAGAIN ? 0 : 0;
        if ((done && !pieces) || (wanted > 0 && done >= wanted))
            break;
        if (wanted <= 0 && tries > 4)
            break;
        usleep(wanted > 0 ? 500 : 300);
    }
    return done ? done : -EAGAIN;
}

static void failed(const char *what, const uint8_t *h, int64_t hn, const uint8_t *g, int64_t gn)
{
    note_bytes("host ", h, hn);
    note_bytes("guest", g, gn);
    fail_msg("%s differs:\n%s", what, journal);
}

static void compare_read(const char *what, int hfd, int64_t gfd, size_t n, bool pieces)
{
    uint8_t *h = mem(n), *g = mem(n);
    int64_t gn = G(me, read, A(gfd), A(g), n), hn = host_read(hfd, h, n, gn, pieces);
    note_bytes(what, g, gn);
    if (hn != gn || (gn > 0 && memcmp(h, g, (size_t)gn)))
        failed(what, h, hn, g, gn);
}

static void type_keys(void)
{
    static const char keys[] = "abcdefgXYZ "
                               "12_"
                               "Q\t\t\n\n\n\r\b\177\177\177\025\027\027\026\022\004\004\003\034\032"
                               "\001\303\251\343\201\202";
    size_t n = 1 + rng_below(&rng, 12);
    uint8_t *p = mem(n);
    for (size_t k = 0; k < n; k++)
        p[k] = (uint8_t)keys[rng_below(&rng, sizeof keys - 1)];
    note_bytes("type", p, (int64_t)n);
    assert_int_equal(write(host_master, p, n), n);
    assert_int_equal(G(me, write, A(master), A(p), n), n);
}

static void print_text(void)
{
    static const char *const texts[] = {"out\n", "a\tb", "\r", "x\n\ty\n", "\b\b", "line", "\1\2"};
    const char *t = texts[rng_below(&rng, ARRAY_LEN(texts))];
    note_bytes("print", (const uint8_t *)t, (int64_t)strlen(t));
    assert_int_equal(write(host_slave, t, strlen(t)), strlen(t));
    assert_int_equal(G(me, write, A(slave), A(str(t)), strlen(t)), strlen(t));
}

static void one_terminal(uint64_t seed)
{
    rng_seed(&rng, seed);
    journal_len = 0;
    me = fake_start(NULL, 0);
    open_both();
    for (int k = 0; k < 60; k++) {
        size_t used = fake_arena_used;
        switch (rng_below(&rng, 8)) {
        case 0:
            compare_read("screen", host_master, master, 500,
                         true); /* nothing on its way while modes change */
            usleep(1000);
            random_mode();
            break;
        case 1:
            print_text();
            break;
        case 2:
        case 3:
            compare_read("screen", host_master, master, 500, true);
            compare_read("read", host_slave, slave, 1 + rng_below(&rng, 20), false);
            break;
        default:
            type_keys();
        }
        compare_read("screen", host_master, master, 500, true);
        fake_arena_used = used;
    }
    close(host_master);
    close(host_slave);
    fake_stop();
}

static void random_keys_in_random_modes_do_what_the_hosts_terminal_does(void **state)
{
    (void)state;
    uint64_t seed;
    os_random(&seed, sizeof seed);
    seed %= 1000000;
    const char *fixed = getenv("VV_SEED");
    int rounds = getenv("VV_WORLDS") ? atoi(getenv("VV_WORLDS")) : 12;
    for (int k = 0; k < rounds; k++) {
        uint64_t s = fixed ? strtoull(fixed, NULL, 0) : seed + (uint64_t)k;
        print_message("seed %llu\n", (unsigned long long)s);
        one_terminal(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_keys_in_random_modes_do_what_the_hosts_terminal_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
