/*
 * tests/system/stub_vm.c - stands in for engine/vm, so that the daemon and the client are tested without the engine,
 * and with guests that misbehave on purpose. args[0] says what the guest does:
 *   echo ARGS...   writes them and a newline        cat            copies input to output
 *   exit N         ends with N                      spin           runs until killed (SIGTERM is ignored)
 *   sleep          runs until a signal ends it      flood BYTES    writes so many bytes
 *   err ARGS...    writes to the second stream      signal N       is killed by signal N
 *   alternate N    N bytes by turns on both streams crash          brings its worker down
 *   nonsense       writes garbage to the manager    overrun        sends beyond its credit
 *   size           writes the terminal's size       limit          ends by a limit
 *   missing        cannot be started                env            writes its environment
 * Input ends cat; on a terminal, ^D (4) ends it too and ^C (3) ends it like SIGINT.
 */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/vm/vm.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define RING 65536

struct ring {
    uint8_t data[RING];
    size_t head, tail;
};
struct vm {
    struct vm_callbacks cb;
    char *argv[64];
    char *envp[256];
    int argc;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool started, ended, killed, tty, eof, paused;
    int signo;
    uint16_t rows, cols;
    struct ring in, out[2];
    struct vm_end end;
};

static size_t ring_put(struct ring *r, const uint8_t *p, size_t n)
{
    size_t k = 0;
    while (k < n && r->head - r->tail < RING)
        r->data[r->head++ % RING] = p[k++];
    return k;
}

static size_t ring_get(struct ring *r, uint8_t *p, size_t n)
{
    size_t k = 0;
    while (k < n && r->tail < r->head)
        p[k++] = r->data[r->tail++ % RING];
    return k;
}

static bool told_to_end(const struct vm *vm)
{
    return vm->killed || vm->signo;
}

/* As a guest's write: waits for room. */
static void put(struct vm *vm, int stream, const char *s, size_t n)
{
    pthread_mutex_lock(&vm->lock);
    while (n && !told_to_end(vm)) {
        size_t k = ring_put(&vm->out[stream - 1], (const uint8_t *)s, n);
        s += k;
        n -= k;
        if (k) {
            pthread_mutex_unlock(&vm->lock);
            vm->cb.console(vm->cb.ctx);
            pthread_mutex_lock(&vm->lock);
        } else {
            pthread_cond_wait(&vm->change, &vm->lock);
        }
    }
    pthread_mutex_unlock(&vm->lock);
}

static void put_args(struct vm *vm, int stream)
{
    for (int i = 1; i < vm->argc; i++) {
        put(vm, stream, vm->argv[i], strlen(vm->argv[i]));
        put(vm, stream, i + 1 < vm->argc ? " " : "\n", 1);
    }
}

static int cat(struct vm *vm)
{
    uint8_t bytes[4096];
    for (;;) {
        pthread_mutex_lock(&vm->lock);
        size_t n;
        while (!(n = ring_get(&vm->in, bytes, sizeof bytes)) && !vm->eof && !told_to_end(vm))
            pthread_cond_wait(&vm->change, &vm->lock);
        pthread_mutex_unlock(&vm->lock);
        vm->cb.console(vm->cb.ctx);
        if (n == 0)
            return 0;
        for (size_t i = 0; vm->tty && i < n; i++) {
            if (bytes[i] == 4) {
                put(vm, 1, (char *)bytes, i);
                return 0;
            }
            if (bytes[i] == 3) {
                vm->signo = 2;
                return 0;
            }
        }
        put(vm, 1, (char *)bytes, n);
    }
}

static void wait_for_end(struct vm *vm, bool ignore_signals)
{
    pthread_mutex_lock(&vm->lock);
    while (!vm->killed && (ignore_signals || !vm->signo))
        pthread_cond_wait(&vm->change, &vm->lock);
    if (ignore_signals)
        vm->signo = 0;
    pthread_mutex_unlock(&vm->lock);
}

static int run(struct vm *vm)
{
    const char *what = vm->argv[0];
    char text[64];
    if (!strcmp(what, "echo")) {
        put_args(vm, 1);
    } else if (!strcmp(what, "err")) {
        put_args(vm, 2);
    } else if (!strcmp(what, "cat")) {
        return cat(vm);
    } else if (!strcmp(what, "exit")) {
        return atoi(vm->argv[1]);
    } else if (!strcmp(what, "spin")) {
        wait_for_end(vm, true);
    } else if (!strcmp(what, "sleep")) {
        wait_for_end(vm, false);
    } else if (!strcmp(what, "flood") || !strcmp(what, "overrun")) {
        long n = atol(vm->argv[1]);
        char line[1024];
        for (size_t i = 0; i < sizeof line; i++)
            line[i] = (char)('a' + i % 26);
        for (; n > 0 && !told_to_end(vm); n -= (long)sizeof line)
            put(vm, 1, line, (size_t)MIN(n, (long)sizeof line));
    } else if (!strcmp(what, "alternate")) {
        for (long i = 0, n = atol(vm->argv[1]); i < n && !told_to_end(vm); i++) {
            put(vm, 1 + (int)(i & 1), i & 1 ? "e" : "o", 1);
            if (i % 16 == 0)
                usleep(1);
        }
    } else if (!strcmp(what, "signal")) {
        vm->signo = atoi(vm->argv[1]);
    } else if (!strcmp(what, "crash")) {
        __asm__ volatile("int3"); /* SIGSEGV would be a sanitizer's; its own SIGKILL does nothing to process 1 */
    } else if (!strcmp(what, "nonsense")) {
        uint8_t junk[512];
        os_random(junk, sizeof junk);
        memcpy(junk, "\x40\0\0\0\xff", 5); /* a whole message, and not one */
        struct iovec iov = {junk, sizeof junk}; /* the one call that may write there */
        if (sendmsg(3, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, 0) < 0)
            return 1;
        wait_for_end(vm, true);
    } else if (!strcmp(what, "size")) {
        pthread_mutex_lock(&vm->lock);
        while (vm->rows != 33 && !told_to_end(vm))
            pthread_cond_wait(&vm->change, &vm->lock);
        pthread_mutex_unlock(&vm->lock);
        int n = snprintf(text, sizeof text, "%u %u\n", vm->rows, vm->cols);
        put(vm, 1, text, (size_t)n);
    } else if (!strcmp(what, "limit")) {
        vm->end.kind = VM_END_LIMIT;
        snprintf(vm->end.text, sizeof vm->end.text, "cpu_ns reached");
    } else if (!strcmp(what, "env")) {
        for (int i = 0; vm->envp[i]; i++) {
            put(vm, 1, vm->envp[i], strlen(vm->envp[i]));
            put(vm, 1, "\n", 1);
        }
    }
    return 0;
}

static void *vm_main(void *arg)
{
    struct vm *vm = arg;
    int code = run(vm);
    pthread_mutex_lock(&vm->lock);
    if (vm->killed)
        vm->end = (struct vm_end){.kind = VM_END_KILLED};
    else if (vm->signo)
        vm->end = (struct vm_end){.kind = VM_END_SIGNAL, .code = vm->signo};
    else if (vm->end.kind != VM_END_LIMIT)
        vm->end = (struct vm_end){.kind = VM_END_EXIT, .code = code};
    vm->ended = true;
    pthread_cond_broadcast(&vm->change);
    pthread_mutex_unlock(&vm->lock);
    vm->cb.ended(vm->cb.ctx);
    return NULL;
}

res_code_t vm_process_init(struct err *err)
{
    mallopt(M_ARENA_MAX, 1); /* as the engine does: a second heap opens a file of the host */
    (void)err;
    return OK;
}

res_t vm_create(const struct vm_config *config, const struct vm_callbacks *cb, struct vm **out,
                struct err *err)
{
    if (!strcmp(config->argv[0], "missing"))
        return err_set(err, ERR_NOT_FOUND, "missing: no such program in the image");
    struct vm *vm = calloc(1, sizeof *vm);
    ASSERT(vm);
    vm->cb = *cb;
    for (; config->argv[vm->argc] && vm->argc < 63; vm->argc++)
        vm->argv[vm->argc] = strdup(config->argv[vm->argc]);
    for (int i = 0; config->envp && config->envp[i] && i < 255; i++)
        vm->envp[i] = strdup(config->envp[i]);
    vm->tty = config->tty;
    vm->rows = config->rows;
    vm->cols = config->cols;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->change, NULL);
    *out = vm;
    return OK;
}

res_t vm_start(struct vm *vm, struct err *err)
{
    vm->started = true;
    return os_thread_start(&vm->thread, "stub", 0, vm_main, vm, err);
}

static void change(struct vm *vm)
{
    pthread_cond_broadcast(&vm->change);
    pthread_mutex_unlock(&vm->lock);
}

res_t vm_signal(struct vm *vm, int signo, struct err *err)
{
    if (vm->ended)
        return err_set(err, ERR_STATE, "ended");
    pthread_mutex_lock(&vm->lock);
    vm->signo = signo;
    change(vm);
    return OK;
}

void vm_kill(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->killed = true;
    change(vm);
}

const struct vm_end *vm_end(const struct vm *vm)
{
    return &vm->end;
}

size_t vm_console_read(struct vm *vm, int stream, void *p, size_t n)
{
    pthread_mutex_lock(&vm->lock);
    size_t k = ring_get(&vm->out[stream - 1], p, n);
    change(vm);
    return k;
}

size_t vm_console_write(struct vm *vm, const void *p, size_t n)
{
    pthread_mutex_lock(&vm->lock);
    size_t k = ring_put(&vm->in, p, n);
    change(vm);
    return k;
}

void vm_console_eof(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    vm->eof = true;
    change(vm);
}

void vm_console_resize(struct vm *vm, uint16_t rows, uint16_t cols)
{
    pthread_mutex_lock(&vm->lock);
    vm->rows = rows;
    vm->cols = cols;
    change(vm);
}

void vm_stats(struct vm *vm, struct vm_stats *out)
{
    (void)vm;
    *out = (struct vm_stats){.cpu_ns = 1};
}

size_t vm_counter_count(void)
{
    return 1;
}

const char *vm_counter_name(size_t i)
{
    (void)i;
    return "insns_t0";
}

void vm_counters(struct vm *vm, uint64_t *values)
{
    (void)vm;
    values[0] = 7;
}

res_code_t vm_pause(struct vm *vm, struct err *err)
{
    (void)err;
    pthread_mutex_lock(&vm->lock);
    vm->paused = true;
    change(vm);
    return OK;
}

res_code_t vm_resume(struct vm *vm, struct err *err)
{
    (void)err;
    pthread_mutex_lock(&vm->lock);
    vm->paused = false;
    change(vm);
    return OK;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->started) {
        vm_kill(vm);
        pthread_join(vm->thread, NULL);
    }
    for (int i = 0; i < vm->argc; i++)
        free(vm->argv[i]);
    for (int i = 0; vm->envp[i]; i++)
        free(vm->envp[i]);
    pthread_mutex_destroy(&vm->lock);
    pthread_cond_destroy(&vm->change);
    free(vm);
}
