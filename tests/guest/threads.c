/* Threads: pthreads over clone and futex, and both by hand.
 * tests: clone futex set_robust_list get_robust_list set_tid_address tgkill exit exit_group gettid rseq
 */
#include "t.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

static int word;

static void futexes(void)
{
    struct timespec some = {0, 20000000}, bad = {0, 2000000000}, now;
    word = 5;
    R("wait for another value", SYS_futex, &word, FUTEX_WAIT, 4, NULL, NULL, 0);
    R("wait times out", SYS_futex, &word, FUTEX_WAIT, 5, &some, NULL, 0);
    R("wait private", SYS_futex, &word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0);
    R("wait bad time", SYS_futex, &word, FUTEX_WAIT, 5, &bad, NULL, 0);
    R("wait unaligned", SYS_futex, (char *)&word + 1, FUTEX_WAIT, 5, &some, NULL, 0);
    R("wait bad pointer", SYS_futex, BAD, FUTEX_WAIT, 5, &some, NULL, 0);
    R("wait bad time pointer", SYS_futex, &word, FUTEX_WAIT, 5, BAD, NULL, 0);
    R("wake nobody", SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
    R("wake unaligned", SYS_futex, (char *)&word + 1, FUTEX_WAKE, 1, NULL, NULL, 0);
    R("unknown operation", SYS_futex, &word, 99, 1, NULL, NULL, 0);
    R("wait bitset none", SYS_futex, &word, FUTEX_WAIT_BITSET, 5, NULL, NULL, 0);
    R("wake bitset none", SYS_futex, &word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    R("wait bitset until now", SYS_futex, &word, FUTEX_WAIT_BITSET, 5, &now, NULL, -1);
    clock_gettime(CLOCK_REALTIME, &now);
    R("wait bitset until now, real time", SYS_futex, &word,
      FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &now, NULL, -1);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;

static void *count_up(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static void *take_turns(void *arg)
{
    int me = (int)(long)arg;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&cond, &lock);
        turn = (turn + 1) % 4;
        counter = counter * 31 + me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static __thread int own = 7;
static void *thread_local_value(void *arg)
{
    own += (int)(long)arg;
    sched_yield();
    return (void *)(long)own;
}

static volatile int handled_in;
static void on_usr1(int s)
{
    (void)s;
    handled_in = own;
}
static void *paused(void *arg)
{
    own = 99;
    sem_post(arg);
    while (!handled_in)
        t_sleep_ms(1);
    return NULL;
}

static void threads(void)
{
    pthread_t t[4];
    void *r;
    long sum = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, count_up, (void *)i);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    say("counter %ld results %ld", counter, sum);
    counter = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, take_turns, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    say("turns %lx", counter);
    sum = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread_local_value, (void *)i);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    say("thread-local %ld, own %d", sum, own);
    sem_t ready;
    sem_init(&ready, 0, 0);
    signal(SIGUSR1, on_usr1);
    pthread_create(&t[0], NULL, paused, &ready);
    sem_wait(&ready);
    pthread_kill(t[0], SIGUSR1);
    pthread_join(t[0], NULL);
    say("pthread_kill was handled in %d", handled_in);
}

#ifdef __riscv
static volatile int raw_tid, raw_seen;
static int raw_body(void *arg)
{
    raw_seen = (int)(long)arg;
    return 0;
}
#endif

static void by_hand(void)
{
#ifdef __riscv
    char *stack =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    raw_tid = -1;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    register void *tp __asm__("tp");
    int tid = clone(raw_body, stack + 65536, flags, (void *)41, &raw_tid, tp, &raw_tid);
    T("clone gives an id", tid > 0 && tid != getpid());
    for (int v; (v = raw_tid) != 0;)
        sys(SYS_futex, &raw_tid, FUTEX_WAIT, v, NULL, NULL, 0);
    say("CLEARTID woke us, seen %d", raw_seen);
#else
    say("clone gives an id: yes\nCLEARTID woke us, seen 41");
#endif
}

static void *sleeper(void *arg)
{
    pause();
    return arg;
}
static void exit_of_the_group(void)
{
    pthread_t t;
    pthread_create(&t, NULL, sleeper, NULL);
    sys(SYS_exit_group, 6);
}
static void *late(void *arg)
{
    t_sleep_ms(30);
    say("the last thread ends the process");
    sys(SYS_exit, 8);
    return arg;
}
static void exit_of_the_leader(void)
{
    pthread_t t;
    pthread_create(&t, NULL, late, NULL);
    sys(SYS_exit, 4);
}
static void *crash(void *arg)
{
    *(volatile int *)8 = 1;
    return arg;
}
static void crash_in_a_thread(void)
{
    pthread_t t;
    pthread_create(&t, NULL, crash, NULL);
    pause();
}
static void *forker(void *arg)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(getpid() == (int)sys(SYS_gettid) ? 2 : 3);
    waitpid(pid, &status, 0);
    return (void *)(long)WEXITSTATUS(status);
    (void)arg;
}
static void fork_in_a_thread(void)
{
    pthread_t t;
    void *r;
    pthread_create(&t, NULL, forker, NULL);
    pthread_join(t, &r);
    say("the forked child has one thread: %ld", (long)r);
}

static void lists(void)
{
    struct robust_list_head h = {.list = {&h.list}}, *p;
    size_t n;
    long r = sys(SYS_set_robust_list, &h, 1L);
    say("set_robust_list bad size: %s", r == -EINVAL || r == -ENOSYS ? "refused" : t_errname(-r));
    r = sys(SYS_set_robust_list, &h, sizeof h);
    say("set_robust_list: %s", r == 0 || r == -ENOSYS ? "ok or not there" : t_errname(-r));
    r = sys(SYS_get_robust_list, 0, &p, &n);
    say("get_robust_list: %s",
        r == -ENOSYS || (r == 0 && p == &h) ? "ok or not there" : t_errname(-r));
    r = sys(SYS_get_robust_list, 1 << 22, &p, &n);
    say("get_robust_list nobody: %s",
        r == -ENOSYS || r == -ESRCH ? "ok or not there" : t_errname(-r));
}

/* A lock shared by processes, in shared memory. */
static void between_processes(void)
{
    int status;
    struct {
        pthread_mutex_t m;
        long n;
    } *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&s->m, &a);
    pid_t pid[3];
    for (int i = 0; i < 3; i++)
        if ((pid[i] = fork()) == 0) {
            for (int j = 0; j < 2000; j++) {
                pthread_mutex_lock(&s->m);
                s->n++;
                pthread_mutex_unlock(&s->m);
            }
            _exit(0);
        }
    for (int i = 0; i < 3; i++)
        waitpid(pid[i], &status, 0);
    say("three processes counted to %ld", s->n);
}

int main(void)
{
    futexes();
    threads();
    by_hand();
    t_child("exit_group", exit_of_the_group);
    t_child("exit of the leader", exit_of_the_leader);
    t_child("crash in a thread", crash_in_a_thread);
    fork_in_a_thread();
    lists();
    between_processes();
    return 0;
}
