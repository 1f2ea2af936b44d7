/* Clocks and sleeps.
 * tests: clock_gettime clock_getres clock_settime clock_nanosleep nanosleep gettimeofday settimeofday times getrusage
 */
#include "t.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

static int64_t ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static void clocks(void)
{
    static const struct {
        int id;
        const char *name;
    } ids[] = {{0, "REALTIME"},         {1, "MONOTONIC"},     {2, "PROCESS_CPUTIME"},
               {3, "THREAD_CPUTIME"},   {4, "MONOTONIC_RAW"}, {5, "REALTIME_COARSE"},
               {6, "MONOTONIC_COARSE"}, {7, "BOOTTIME"}};
    struct timespec a, b;
    char what[64];
    for (size_t i = 0; i < COUNT(ids); i++) {
        long r = sys(SYS_clock_gettime, ids[i].id, &a);
        for (volatile int j = 0; j < 100000; j++)
            ;
        sys(SYS_clock_gettime, ids[i].id, &b);
        say("%s: %ld, forward %d, valid %d", ids[i].name, r, ns(&b) >= ns(&a),
            a.tv_nsec >= 0 && a.tv_nsec < 1000000000);
        snprintf(what, sizeof what, "resolution of %s", ids[i].name);
        r = sys(SYS_clock_getres, ids[i].id, &a);
        say("%s: %ld, below 11 ms %d", what, r,
            a.tv_sec == 0 && a.tv_nsec > 0 && a.tv_nsec < 11000000);
    }
    R("clock_gettime unknown", SYS_clock_gettime, 77, &a);
    R("clock_gettime bad pointer", SYS_clock_gettime, 1, BAD);
    R("clock_getres unknown", SYS_clock_getres, 77, &a);
    R("clock_getres null", SYS_clock_getres, 1, NULL);
    R("clock_settime monotonic", SYS_clock_settime, 1, &a);
    a.tv_nsec = -1;
    R("clock_settime bad", SYS_clock_settime, 0, &a);
    R("clock_settime bad pointer", SYS_clock_settime, 0, BAD);
    struct timeval tv, bad = {0, -1};
    R("gettimeofday", SYS_gettimeofday, &tv, NULL);
    clock_gettime(CLOCK_REALTIME, &a);
    T("the same clock", a.tv_sec - tv.tv_sec >= 0 && a.tv_sec - tv.tv_sec <= 1);
    T("after 2020", a.tv_sec > 1577836800);
    R("gettimeofday bad pointer", SYS_gettimeofday, BAD, NULL);
    R("settimeofday bad", SYS_settimeofday, &bad, NULL);
    /* the C library's way, through the vdso */
    T("vdso and call agree", (clock_gettime(CLOCK_MONOTONIC, &a), sys(SYS_clock_gettime, 1, &b),
                              ns(&b) >= ns(&a) && ns(&b) - ns(&a) < 1000000000));
}

static void sleeps(void)
{
    struct timespec t = {0, 20000000}, a, b, bad = {0, 1000000000}, neg = {-1, 0};
    clock_gettime(CLOCK_MONOTONIC, &a);
    R("nanosleep", SYS_nanosleep, &t, NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    T("slept long enough", ns(&b) - ns(&a) >= 20000000);
    R("nanosleep nothing", SYS_nanosleep, &(struct timespec){0, 0}, NULL);
    R("nanosleep bad", SYS_nanosleep, &bad, NULL);
    R("nanosleep negative", SYS_nanosleep, &neg, NULL);
    R("nanosleep bad pointer", SYS_nanosleep, BAD, NULL);
    R("clock_nanosleep", SYS_clock_nanosleep, CLOCK_REALTIME, 0, &t, NULL);
    clock_gettime(CLOCK_MONOTONIC, &a);
    b = a;
    b.tv_nsec += 20000000;
    if (b.tv_nsec >= 1000000000)
        b.tv_nsec -= 1000000000, b.tv_sec++;
    R("clock_nanosleep until", SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &b, NULL);
    clock_gettime(CLOCK_MONOTONIC, &t);
    T("not too early", ns(&t) >= ns(&b));
    R("clock_nanosleep until the past", SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &a,
      NULL);
    R("clock_nanosleep unknown clock", SYS_clock_nanosleep, 77, 0, &t, NULL);
    R("clock_nanosleep thread clock", SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0,
      &(struct timespec){0, 1}, NULL);
    R("clock_nanosleep bad", SYS_clock_nanosleep, 1, 0, &bad, NULL);
    R("clock_nanosleep bad pointer", SYS_clock_nanosleep, 1, 0, BAD, NULL);
}

static void usage(void)
{
    struct rusage ru;
    struct tms tms;
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    while (ns(&b) - ns(&a) < 60000000);
    R("getrusage", SYS_getrusage, RUSAGE_SELF, &ru);
    T("CPU time was used", ru.ru_utime.tv_sec + ru.ru_stime.tv_sec > 0 ||
                               ru.ru_utime.tv_usec + ru.ru_stime.tv_usec >= 40000);
    R("getrusage children", SYS_getrusage, RUSAGE_CHILDREN, &ru);
    R("getrusage thread", SYS_getrusage, 1, &ru);
    R("getrusage unknown", SYS_getrusage, 77, &ru);
    R("getrusage bad pointer", SYS_getrusage, RUSAGE_SELF, BAD);
    OK("times", SYS_times, &tms);
    T("ticks were used", tms.tms_utime + tms.tms_stime >= 4);
    OK("times null", SYS_times, NULL);
    R("times bad pointer", SYS_times, BAD);
}

int main(void)
{
    clocks();
    sleeps();
    usage();
    return 0;
}
