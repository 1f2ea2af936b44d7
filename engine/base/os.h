/*
 * base/os.h - the few host primitives that several rooms need. All fail with ERR_OS or ERR_NO_MEMORY.
 */
#ifndef BASE_OS_H
#define BASE_OS_H

#include "engine/base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Take the pages of [p, p + bytes) now, all at once, to be written (or only read): what is about to be touched page by page would
 * fault page by page, and a fault can cost 10 us (nested virtualization). Only advice: who fails here faults later. */
void os_populate(void *p, size_t bytes, bool write);
uint64_t os_now_ns(void);            /* CLOCK_MONOTONIC */
uint64_t os_thread_cpu_ns(void);     /* CPU time of the calling thread */
void os_random(void *p, size_t n);   /* getrandom(2); aborts if the host has none */
/* A sealed-size-free memfd, close-on-exec. */
res_t os_memfd(const char *name, size_t bytes, int *fd, struct err *err);
/* A thread with all signals blocked except the synchronous ones, a name of at most 15 bytes and a
 * stack of stack_bytes (0: the default). */
res_t os_thread_start(pthread_t *t, const char *name, size_t stack_bytes, void *(*main)(void *), void *arg,
                      struct err *err);

/* What a thread of the engine is for. Each says so before it does anything else, so that whoever owns the process can take away
 * from it what it does not need. */
enum os_thread_kind {
    OS_THREAD_VCPU,   /* runs a guest's code */
    OS_THREAD_HELPER, /* translator, ticker: works for guests, runs none of their code */
};
void os_thread_is(enum os_thread_kind kind);
/* fn is called by each such thread, on it. Set once, before the first of them starts. */
void os_on_thread(void (*fn)(enum os_thread_kind kind));
/* fstat(2) and nothing else: the C library's makes a call that takes a path. 0, or -1 and errno. */
struct stat;
int os_fstat(int fd, struct stat *st);

/* xoshiro256**: for tests, generators and sampling, never for secrets. */
struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1, n > 0 */

#endif
