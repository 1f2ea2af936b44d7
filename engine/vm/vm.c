/* vm/vm.c - joins one guest's parts: memory pool, engine, OS-call emulator. Registers the guest ISA and the host. */
#include "engine/vm/vm.h"

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/execute/run.h"
#include "engine/linux/lx.h"
#include "engine/memory/memory.h"
#include "engine/profile/profile.h"
#include "engine/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT(x, d) ((x) ? (x) : (d))
#define NAME_MAX_BYTES 63
#define VCPUS_MAX 16
#define TAG_VM SNAP_TAG('V', 'M', ' ', ' ')
#define TAG_VM_VERSION 1

/* Host mappings are 65,530 per process and a worker holds up to 12 guests. */
#define MAPS_PER_GUEST 4800

struct vm {
    struct vm_callbacks cb;
    struct mem_pool *pool;
    struct run_engine *engine;
    struct lx *lx;
    int image_fd;
    char name[NAME_MAX_BYTES + 1];
    bool started, paused;
    pthread_mutex_t lock; /* of the two below */
    pthread_cond_t changed;
    bool ended;
    struct vm_end end;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct err once_err;
static res_code_t once_result;

static void *nothing(void *arg)
{
    return arg;
}

static void process_init(void)
{
    /* One heap: a guest's threads need little, arenas of their own would weigh on idle guests and grow by a system call a page,
     * and giving one back makes the C library read a file of the host. */
    mallopt(M_ARENA_MAX, 1);
    pthread_t t;
    once_result = run_process_init(&once_err);
    if (once_result == OK)
        once_result = mem_process_init(&once_err);
    /* With its first thread the C library sets up what it needs for threads. */
    if (once_result == OK)
        once_result = os_thread_start(&t, "first", 0, nothing, NULL, &once_err);
    if (once_result == OK)
        pthread_join(t, NULL);
}

res_code_t vm_process_init(struct err *err)
{
    pthread_once(&once, process_init);
    if (once_result != OK && err)
        *err = once_err;
    return once_result;
}

/* Guest thread, lx.lock held: only wakes. */
static void on_console(void *ctx)
{
    struct vm *vm = ctx;
    if (vm->cb.console)
        vm->cb.console(vm->cb.ctx);
}

static void on_ended(void *ctx)
{
    struct vm *vm = ctx;
    pthread_mutex_lock(&vm->lock);
    vm->ended = true;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    if (vm->cb.ended)
        vm->cb.ended(vm->cb.ctx);
}

static res_t check_config(const struct vm_config *c, struct err *err)
{
    const struct vm_limits *l = &c->limits;
    if (!c->name || !*c->name || strlen(c->name) > NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "name: 1 to %d bytes", NAME_MAX_BYTES);
    if (!c->argv || !c->argv[0])
        return err_set(err, ERR_INVALID, "argv: a program is needed");
    if (c->vcpus > VCPUS_MAX)
        return err_set(err, ERR_INVALID, "vcpus: at most %d", VCPUS_MAX);
    if (c->window_bits && (c->window_bits < 32 || c->window_bits > 38))
        return err_set(err, ERR_INVALID, "window_bits: 32 to 38");
    if (l->cache_bytes && (l->cache_bytes < 65536 || l->cache_bytes > (uint64_t)1 << 30))
        return err_set(err, ERR_INVALID, "cache_bytes: 64 KiB to 1 GiB");
    if (l->arena_bytes && (l->arena_bytes < 8192 || l->arena_bytes > 1 << 20))
        return err_set(err, ERR_INVALID, "arena_bytes: 8 KiB to 1 MiB");
    if (l->processes > 1 << 15 || l->files > 1 << 20)
        return err_set(err, ERR_INVALID, "processes: at most 32768; files: at most 1048576");
    return OK;
}

static res_t make_parts(struct vm *vm, const struct vm_config *c, struct err *err)
{
    const struct vm_limits *l = &c->limits;
    struct mem_pool_config pool = {
        .commit_bytes = DEFAULT(l->memory_bytes, (uint64_t)512 << 20),
        .maps = MAPS_PER_GUEST,
        .window_bits = DEFAULT(c->window_bits, 36),
    };
    struct run_config run = {
        .guest = &rv_guest_ops,
        .host = &x64_host_ops,
        .name = vm->name,
        .cache_bytes = DEFAULT(l->cache_bytes, (uint64_t)16 << 20),
        .arena_bytes = DEFAULT(l->arena_bytes, 65536),
        .features_off = c->host_features_off,
        .vcpu_count = DEFAULT(c->vcpus, 1),
        .block_insns_max = c->block_insns_max,
        .t1_threshold = c->t1_threshold,
        .no_translate = c->no_translate,
        .no_chain = c->no_chain,
    };
    if (mem_pool_new(&pool, &vm->pool, err) != OK)
        return FAIL;
    return run_engine_new(&run, &vm->engine, err);
}

static struct lx_config lx_config_from(struct vm *vm, const struct vm_config *c)
{
    const struct vm_limits *l = &c->limits;
    return (struct lx_config){
        .name = vm->name,
        .engine = vm->engine,
        .pool = vm->pool,
        .arch = &lx_rv_arch,
        .image_fd = vm->image_fd,
        .vcpus = DEFAULT(c->vcpus, 1),
        .processes_max = DEFAULT(l->processes, 256),
        .files_max = DEFAULT(l->files, 1024),
        .memory_bytes = DEFAULT(l->memory_bytes, (uint64_t)512 << 20),
        .overlay_bytes_max = DEFAULT(l->overlay_bytes, (uint64_t)64 << 20),
        .cpu_ns_max = l->cpu_ns,
        .tty = c->tty,
        .rows = DEFAULT(c->rows, 24),
        .cols = DEFAULT(c->cols, 80),
        .argv = c->argv,
        .envp = c->envp,
        .cwd = c->cwd,
        .uid = c->uid,
        .gid = c->gid,
        .program = c->program,
        .program_bytes = c->program_bytes,
        .ctx = vm,
        .console = on_console,
        .ended = on_ended,
    };
}

/* Everything of an instance but its lx, which is made or loaded. */
static res_t prepare(const struct vm_config *c, const struct vm_callbacks *cb, struct vm **out, struct err *err)
{
    if (vm_process_init(err) != OK || check_config(c, err) != OK)
        return FAIL;
    struct vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return err_set(err, ERR_NO_MEMORY, "instance");
    if (cb)
        vm->cb = *cb;
    vm->image_fd = -1;
    memcpy(vm->name, c->name, strlen(c->name) + 1);
    pthread_mutex_init(&vm->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&vm->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (c->image_fd >= 0) {
        vm->image_fd = fcntl(c->image_fd, F_DUPFD_CLOEXEC, 3);
        if (vm->image_fd < 0) {
            (void)err_set_os(err, "image descriptor");
            vm_free(vm);
            return FAIL;
        }
    }
    if (make_parts(vm, c, err) != OK) {
        vm_free(vm);
        return FAIL;
    }
    *out = vm;
    return OK;
}

res_code_t vm_create(const struct vm_config *c, const struct vm_callbacks *cb, struct vm **out, struct err *err)
{
    struct vm *vm;
    if (prepare(c, cb, &vm, err) != OK)
        return FAIL;
    struct lx_config lc = lx_config_from(vm, c);
    if (lx_new(&lc, &vm->lx, err) != OK) {
        vm_free(vm);
        return FAIL;
    }
    *out = vm;
    return OK;
}

res_code_t vm_start(struct vm *vm, struct err *err)
{
    if (vm->started)
        return err_set(err, ERR_STATE, "%s was started before", vm->name);
    if (lx_start(vm->lx, err) != OK)
        return FAIL;
    vm->started = true;
    return OK;
}

static bool has_ended(struct vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    bool ended = vm->ended;
    pthread_mutex_unlock(&vm->lock);
    return ended;
}

static res_t check_running(struct vm *vm, struct err *err)
{
    if (!vm->started)
        return err_set(err, ERR_STATE, "%s is not started", vm->name);
    if (has_ended(vm))
        return err_set(err, ERR_STATE, "%s has ended", vm->name);
    return OK;
}

res_code_t vm_signal(struct vm *vm, int signo, struct err *err)
{
    if (signo < 1 || signo > 64)
        return err_set(err, ERR_INVALID, "signal %d: 1 to 64", signo);
    if (check_running(vm, err) != OK)
        return FAIL;
    lx_signal_init(vm->lx, signo);
    return OK;
}

void vm_kill(struct vm *vm)
{
    lx_kill(vm->lx);
}

res_code_t vm_pause(struct vm *vm, struct err *err)
{
    if (check_running(vm, err) != OK)
        return FAIL;
    lx_pause(vm->lx);
    vm->paused = true;
    return check_running(vm, err); /* it may have ended on the way */
}

res_code_t vm_resume(struct vm *vm, struct err *err)
{
    if (check_running(vm, err) != OK)
        return FAIL;
    lx_resume(vm->lx);
    vm->paused = false;
    return OK;
}

enum vm_state vm_state(const struct vm *vm)
{
    if (has_ended((struct vm *)vm))
        return VM_ENDED;
    if (!vm->started)
        return VM_CREATED;
    return vm->paused ? VM_PAUSED : VM_RUNNING;
}

/* The line that lx_trap makes, "NAME at pc 0x... (insn)[, address 0x...]", taken apart again. */
static void find_fault(struct vm_end *e)
{
    unsigned long long pc, address = 0;
    const char *at = strstr(e->text, " at pc 0x"), *open = at ? strchr(at, '(') : NULL;
    const char *close = open ? strrchr(open, ')') : NULL;
    if (!close || sscanf(at, " at pc 0x%llx", &pc) != 1)
        return;
    if (sscanf(close, "), address 0x%llx", &address) != 1)
        address = 0;
    e->fault = true;
    e->pc = pc;
    e->address = address;
    snprintf(e->insn, sizeof e->insn, "%.*s", (int)(close - open) - 1, open + 1);
}

const struct vm_end *vm_end(const struct vm *vm)
{
    static const enum vm_end_kind kinds[] = {
        [LX_END_EXIT] = VM_END_EXIT,     [LX_END_SIGNAL] = VM_END_SIGNAL, [LX_END_LIMIT] = VM_END_LIMIT,
        [LX_END_KILLED] = VM_END_KILLED, [LX_END_ERROR] = VM_END_ERROR,
    };
    struct vm *v = (struct vm *)vm;
    struct lx_end end;
    if (!lx_ended(v->lx, &end))
        return NULL;
    v->end.kind = kinds[end.kind];
    v->end.code = end.code;
    memcpy(v->end.text, end.text, sizeof v->end.text);
    find_fault(&v->end);
    return &v->end;
}

bool vm_wait(struct vm *vm, uint64_t timeout_ns)
{
    uint64_t now = os_now_ns();
    uint64_t until = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    struct timespec ts = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_mutex_lock(&vm->lock);
    while (!vm->ended) {
        int rc = until == UINT64_MAX ? pthread_cond_wait(&vm->changed, &vm->lock)
                                     : pthread_cond_timedwait(&vm->changed, &vm->lock, &ts);
        if (rc == ETIMEDOUT)
            break;
    }
    bool ended = vm->ended;
    pthread_mutex_unlock(&vm->lock);
    return ended;
}

size_t vm_console_read(struct vm *vm, int stream, void *p, size_t n)
{
    return lx_console_read(vm->lx, stream, p, n);
}

size_t vm_console_write(struct vm *vm, const void *p, size_t n)
{
    return lx_console_write(vm->lx, p, n);
}

void vm_console_eof(struct vm *vm)
{
    lx_console_eof(vm->lx);
}

void vm_console_resize(struct vm *vm, uint16_t rows, uint16_t cols)
{
    lx_console_resize(vm->lx, rows, cols);
}

void vm_stats(struct vm *vm, struct vm_stats *out)
{
    struct run_stats r;
    struct lx_stats l;
    run_engine_stats(vm->engine, &r);
    lx_stats(vm->lx, &l);
    *out = (struct vm_stats){
        .cpu_ns = l.cpu_ns,
        .guest_insns_t0 = r.insns_t0,
        .blocks_translated = r.blocks_translated,
        .guest_insns_translated = r.insns_translated,
        .host_bytes_emitted = r.host_bytes,
        .translate_ns = r.translate_ns,
        .lookups_missed = r.misses,
        .retired = r.retired,
        .evictions = r.evictions,
        .syscalls = l.syscalls,
        .faults = r.faults,
        .memory_bytes = mem_pool_committed_bytes(vm->pool),
        .overlay_bytes = l.overlay_bytes,
        .processes = l.processes,
    };
}

size_t vm_counter_count(void)
{
    return PROF_COUNTER_COUNT;
}

const char *vm_counter_name(size_t i)
{
    return prof_counter_infos[i].name;
}

void vm_counters(struct vm *vm, uint64_t *values)
{
    run_engine_counters(vm->engine, values);
}

res_code_t vm_save(struct vm *vm, int page_fd, void **out, size_t *n, struct err *err)
{
    if (vm_state(vm) != VM_PAUSED)
        return err_set(err, ERR_STATE, "%s must be paused to be saved", vm->name);
    struct snap_writer w;
    snap_writer_init(&w, page_fd);
    snap_begin(&w, TAG_VM, TAG_VM_VERSION);
    res_code_t rc = lx_save(vm->lx, &w, err);
    snap_end(&w);
    if (rc == OK)
        rc = snap_finish(&w, err);
    if (rc != OK) {
        snap_writer_fini(&w);
        return FAIL;
    }
    *out = w.out.data;
    *n = w.out.len;
    return OK;
}

res_code_t vm_load(const struct vm_config *c, const struct vm_callbacks *cb, const void *p, size_t n, int page_fd,
                   struct vm **out, struct err *err)
{
    struct vm *vm;
    struct snap_reader r;
    if (prepare(c, cb, &vm, err) != OK)
        return FAIL;
    struct lx_config lc = lx_config_from(vm, c);
    res_code_t rc = snap_reader_init(&r, p, n, page_fd, err);
    if (rc == OK && !snap_open(&r, TAG_VM, TAG_VM_VERSION))
        rc = snap_check(&r, err);
    if (rc == OK)
        rc = lx_load(&lc, &r, &vm->lx, err);
    if (rc == OK) {
        lx_pause(vm->lx); /* before the threads exist: they start standing still */
        rc = lx_start(vm->lx, err);
    }
    if (rc != OK) {
        vm_free(vm);
        return FAIL;
    }
    vm->started = vm->paused = true;
    *out = vm;
    return OK;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    if (vm->lx)
        lx_free(vm->lx);
    if (vm->engine)
        run_engine_free(vm->engine);
    if (vm->pool)
        mem_pool_free(vm->pool);
    close_fd(&vm->image_fd);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}
