/* LR/SC and AMO, alone and against each other. RISC-V only. */
#include "t.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 50000 };

static long counter, swap_lock, guarded;
static int counter32, least = 1 << 30, most;

#define AMO(op, type, p, v)                                                              \
    ({                                                                                   \
        type old_;                                                                       \
        __asm__ volatile(op " %0, %2, %1" : "=r"(old_), "+A"(*(p)) : "r"(v) : "memory"); \
        old_;                                                                            \
    })

static long lr(long *p)
{
    long v;
    __asm__ volatile("lr.d.aqrl %0, %1" : "=r"(v) : "A"(*p) : "memory");
    return v;
}
static long sc(long *p, long v)
{
    long failed;
    __asm__ volatile("sc.d.aqrl %0, %2, %1" : "=r"(failed), "+A"(*p) : "r"(v) : "memory");
    return failed;
}
static void add_by_lr_sc(long *p, long n)
{
    long t, f;
    __asm__ volatile("1: lr.d %0, %2\n add %0, %0, %3\n sc.d %1, %0, %2\n bnez %1, 1b"
                     : "=&r"(t), "=&r"(f), "+A"(*p)
                     : "r"(n)
                     : "memory");
}
static void add_by_lr_sc_w(int *p, int n)
{
    int t, f;
    __asm__ volatile("1: lr.w.aq %0, %2\n addw %0, %0, %3\n sc.w.rl %1, %0, %2\n bnez %1, 1b"
                     : "=&r"(t), "=&r"(f), "+A"(*p)
                     : "r"(n)
                     : "memory");
}

static void *work(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        add_by_lr_sc(&counter, 1);
        AMO("amoadd.d", long, &counter, 2L);
        add_by_lr_sc_w(&counter32, 1);
        AMO("amoadd.w", int, &counter32, -1);
        AMO("amomin.w", int, &least, (int)(me * ROUNDS + i));
        AMO("amomax.w", int, &most, (int)(me * ROUNDS + i));
        if (i % 16 == 0) {
            while (AMO("amoswap.d.aq", long, &swap_lock, 1L))
                sched_yield();
            guarded++;
            AMO("amoswap.d.rl", long, &swap_lock, 0L);
        }
    }
    return NULL;
}

static void alone(void)
{
    static const long values[] = {0,
                                  1,
                                  -1,
                                  0x7fffffff,
                                  -0x80000000L,
                                  0x7fffffffffffffff,
                                  (long)0x8000000000000000,
                                  0x123456789abcdef0};
    unsigned long h = 0;
#define EACH(op)                                                         \
    for (size_t i = 0; i < COUNT(values); i++)                           \
        for (size_t j = 0; j < COUNT(values); j++) {                     \
            long d = values[i];                                          \
            long old = AMO(op ".d", long, &d, values[j]);                \
            h = h * 31 + (unsigned long)old + (unsigned long)d * 7;      \
            long w[1] = {values[i]};                                     \
            long old32 = AMO(op ".w.aqrl", long, (int *)w, values[j]);   \
            h = h * 31 + (unsigned long)old32 + (unsigned long)w[0] * 7; \
        }                                                                \
    say(op " %016lx", h)
    EACH("amoadd");
    EACH("amoswap");
    EACH("amoxor");
    EACH("amoand");
    EACH("amoor");
    EACH("amomin");
    EACH("amomax");
    EACH("amominu");
    EACH("amomaxu");
}

static void reservations(void)
{
    static long a = 5, b = 6;
    say("sc without lr fails: %d, memory %ld", sc(&a, 9) != 0, a);
    long v = lr(&a), f = sc(&a, 10);
    say("lr %ld sc %ld memory %ld", v, f, a);
    say("the second sc fails: %d, memory %ld", sc(&a, 11) != 0, a);
    lr(&a);
    say("sc elsewhere fails: %d, memory %ld", sc(&b, 12) != 0, b);
    say("and spends the reservation: %d", sc(&a, 13) != 0);
    lr(&a);
    sys(SYS_sched_yield);
    f = sc(&a, 14);
    say("sc after a call: %s", (f == 0 && a == 14) || (f && a == 10) ? "consistent" : "torn");
    volatile uint32_t w = 0x80000001;
    long s;
    __asm__ volatile("lr.w %0, %1" : "=r"(s) : "A"(w) : "memory");
    say("lr.w extends the sign: %lx", s);
}

static void misaligned_amo(void)
{
    static long a[2];
    AMO("amoadd.d", long, (long *)((char *)a + 4), 1L);
}
static void misaligned_lr(void)
{
    static long a[2];
    lr((long *)((char *)a + 2));
}
static void amo_on_read_only(void)
{
    AMO("amoadd.w", int, (int *)t_readonly_page(), 0);
}
static void amo_on_null(void)
{
    AMO("amoor.d", long, (long *)16, 0L);
}

int main(void)
{
    alone();
    reservations();
    pthread_t t[THREADS];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    say("counter %ld, counter32 %d, least %d, most %d, guarded %ld", counter, counter32, least,
        most, guarded);
    /* and between processes */
    long *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            for (int j = 0; j < 20000; j++) {
                add_by_lr_sc(shared, 1);
                AMO("amoadd.d", long, shared + 1, 1L);
            }
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    say("processes: %ld %ld", shared[0], shared[1]);
    t_child("misaligned amoadd.d", misaligned_amo);
    t_child("misaligned lr.d", misaligned_lr);
    t_child("amo on a read-only page", amo_on_read_only);
    t_child("amo on null", amo_on_null);
    return 0;
}
