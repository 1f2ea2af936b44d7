/*
 * linux/lx.c - the outer door: a guest's kernel object from its making to its end.
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VCPU_STACK_SIZE ((size_t)256 << 10)
#define VCPUS_MAX 16
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PROGRAM_PATH "/vivarium/init"
#define STACK_LIMIT ((uint64_t)8 << 20)
#define MEMORY_DEFAULT ((uint64_t)512 << 20)

static uint64_t host_realtime_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t lx_next_object_id(struct lx *lx)
{
    return lx->object_id += 2;
}

static res_t find_window(struct lx *lx, struct err *err)
{
    struct mem_space *m;
    if (mem_space_new(lx->config.pool, &m, err))
        return FAIL;
    lx->window_bits = (uint32_t)__builtin_ctzll(mem_space_bytes(m));
    mem_space_put(m);
    return OK;
}

static res_t make_vdso(struct lx *lx, struct err *err)
{
    uint8_t page[LX_VDSO_BYTES];
    lx->arch->vdso_make(page);
    if (mem_object_memory(lx->config.pool, sizeof page, &lx->vdso, err))
        return FAIL;
    mem_object_set_snap_id(lx->vdso, lx_next_object_id(lx));
    if (mem_object_write(lx->vdso, 0, page, sizeof page) != (int64_t)sizeof page)
        return err_set(err, ERR_NO_MEMORY, "no memory for the vdso");
    return OK;
}

/* What new and loaded guests have in common: everything but what lives in them. */
res_t lx_skeleton(const struct lx_config *c, struct lx **out, struct err *err)
{
    struct lx *lx = calloc(1, sizeof *lx);
    if (!lx)
        return err_set(err, ERR_NO_MEMORY, "a guest's kernel object");
    pthread_mutex_init(&lx->lock, NULL);
    pthread_cond_init(&lx->work, NULL);
    pthread_cond_init(&lx->still, NULL);
    lx->config = *c;
    if (!lx->config.processes_max)
        lx->config.processes_max = 256;
    if (!lx->config.files_max)
        lx->config.files_max = 1024;
    if (!lx->config.memory_bytes)
        lx->config.memory_bytes = MEMORY_DEFAULT;
    snprintf(lx->name, sizeof lx->name, "%s", c->name && *c->name ? c->name : "vivarium");
    snprintf(lx->domain, sizeof lx->domain, "(none)");
    lx->config.name = lx->name;
    lx->arch = c->arch;
    lx->vcpu_count = MIN(MAX(c->vcpus, 1u), (uint32_t)VCPUS_MAX);
    list_init(&lx->runq);
    lx->next_pid = 1;
    lx->armed_ns = lx->slice_due_ns = lx->cpu_check_due_ns = UINT64_MAX;
    lx->clock_stopped_ns = UINT64_MAX;
    lx->clock_base_ns = os_now_ns();
    lx->realtime_base_ns = host_realtime_ns();
    lx->tick.fn = lx_sched_tick;
    list_init(&lx->tick.link);
    lx_random_seed(lx);
    *out = lx;
    if (find_window(lx, err))
        return FAIL;
    lx->vcpus = calloc(lx->vcpu_count, sizeof *lx->vcpus);
    return lx->vcpus ? OK : err_set(err, ERR_NO_MEMORY, "%u vCPUs", lx->vcpu_count);
}

static void set_limits(struct lx *lx, struct lx_process *p)
{
    for (int i = 0; i < LX_RLIM_COUNT; i++)
        p->rlim_cur[i] = p->rlim_max[i] = UINT64_MAX;
    p->rlim_cur[LX_RLIM_STACK] = STACK_LIMIT;
    p->rlim_cur[LX_RLIM_CORE] = 0;
    p->rlim_cur[LX_RLIM_NPROC] = p->rlim_max[LX_RLIM_NPROC] = lx->config.processes_max;
    p->rlim_cur[LX_RLIM_NOFILE] = p->rlim_max[LX_RLIM_NOFILE] = lx->config.files_max;
    p->rlim_cur[LX_RLIM_MEMLOCK] = p->rlim_max[LX_RLIM_MEMLOCK] = (uint64_t)8 << 20;
    p->rlim_cur[LX_RLIM_SIGPENDING] = p->rlim_max[LX_RLIM_SIGPENDING] = LX_SIG_QUEUE_MAX;
    p->rlim_cur[LX_RLIM_MSGQUEUE] = p->rlim_max[LX_RLIM_MSGQUEUE] = 819200;
    p->rlim_cur[LX_RLIM_NICE] = p->rlim_max[LX_RLIM_NICE] = 0;
    p->rlim_cur[LX_RLIM_RTPRIO] = p->rlim_max[LX_RLIM_RTPRIO] = 0;
}

static res_t make_init(struct lx *lx, struct err *err)
{
    struct lx_process *p = lx_process_new(lx, 0);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "the first process");
    lx->init = p;
    set_limits(lx, p);
    p->uid = p->euid = p->suid = lx->config.uid;
    p->gid = p->egid = p->sgid = lx->config.gid;
    p->priv->exit_signal = SIGCHLD;
    p->priv->sighand = lx_sighand_new();
    p->files = lx_files_new(lx);
    p->fs = lx_fs_new(lx);
    if (!p->priv->sighand || !p->files || !p->fs || lx_process_join_pgrp(p, p->pid, p->pid) ||
        !lx_thread_new(p, p->pid))
        return err_set(err, ERR_NO_MEMORY, "the first process");
    int rc = lx_stdio_setup(p);
    if (rc)
        return err_set(err, ERR_NO_MEMORY, "standard streams: %s", strerror(-rc));
    const char *cwd = lx->config.cwd && *lx->config.cwd ? lx->config.cwd : "/";
    rc = lx_fs_chdir(p, cwd);
    if (rc)
        return err_set(err, rc == -ENOENT ? ERR_NOT_FOUND : ERR_INVALID,
                       "working directory %.200s: %s", cwd, strerror(-rc));
    return OK;
}

static const char *path_variable(const char *const *envp)
{
    for (; *envp; envp++)
        if (!strncmp(*envp, "PATH=", 5))
            return *envp + 5;
    return PATH_DEFAULT;
}

/* argv[0] as execvp would find it, malloced. */
static res_t look_up_program(struct lx_process *p, const char *name, const char *path, char **out,
                             struct err *err)
{
    int rc = -ENOENT;
    if (strchr(name, '/')) {
        *out = strdup(name);
        return *out ? OK : err_set(err, ERR_NO_MEMORY, "a path");
    }
    for (const char *dir = path; *name; dir++) {
        int n = (int)strcspn(dir, ":");
        char full[LX_PATH_MAX];
        struct lx_file *f;
        if (snprintf(full, sizeof full, "%.*s%s%s", n, dir, n ? "/" : "./", name) <
            (int)sizeof full) {
            int got = lx_exec_open(p, -100, full, 0, &f);
            if (!got) {
                lx_file_put(f);
                *out = strdup(full);
                return *out ? OK : err_set(err, ERR_NO_MEMORY, "a path");
            }
            rc = got == -ENOENT || got == -ENOTDIR ? rc : got;
        }
        dir += n;
        if (!*dir)
            break;
    }
    return err_set(err, rc == -ENOENT ? ERR_NOT_FOUND : ERR_DENIED,
                   "program %.200s: %s (PATH is %.120s)", name, strerror(-rc), path);
}

static res_t start_program(struct lx *lx, struct err *err)
{
    static const char *const no_env[] = {"PATH=" PATH_DEFAULT, "HOME=/root", "TERM=xterm", NULL};
    const char *const *envp = lx->config.envp ? lx->config.envp : no_env;
    const char *const *argv = lx->config.argv;
    if (!argv || !argv[0])
        return err_set(err, ERR_INVALID, "no program given");
    CLEANUP(free_ptr) char *path = NULL;
    if (lx->config.program)
        path = strdup(PROGRAM_PATH);
    else if (look_up_program(lx->init, argv[0], path_variable(envp), &path, err))
        return FAIL;
    if (!path)
        return err_set(err, ERR_NO_MEMORY, "a path");
    return lx_exec_init(lx->init, path, argv, envp, err);
}

res_t lx_new(const struct lx_config *c, struct lx **out, struct err *err)
{
    struct lx *lx = NULL;
    res_code_t rc = lx_skeleton(c, &lx, err);
    if (!rc)
        rc = make_vdso(lx, err);
    if (!rc)
        rc = lx_vfs_new(lx, &lx->vfs, err);
    if (!rc)
        rc = make_init(lx, err);
    if (!rc)
        rc = start_program(lx, err);
    if (!rc)
        rc = lx_tick_add(&lx->tick, err);
    if (rc) {
        if (lx)
            lx_free(lx);
        return FAIL;
    }
    lx->config.argv = lx->config.envp = NULL; /* the caller's; used up */
    lx->config.cwd = NULL;
    lx->config.program = NULL;
    lx_enqueue(lx, list_entry(lx->init->threads.next, struct lx_thread, link));
    *out = lx;
    return OK;
}

res_t lx_start(struct lx *lx, struct err *err)
{
    char name[16];
    if (lx->start_done)
        return err_set(err, ERR_STATE, "already started");
    lx_lock(lx);
    lx->start_done = true;
    lx_unlock(lx);
    for (uint32_t i = 0; i < lx->vcpu_count; i++) {
        struct lx_vcpu *vc = &lx->vcpus[i];
        vc->lx = lx;
        if (run_vcpu_new(lx->config.engine, &vc->rv, err))
            return FAIL;
        vc->v = run_vcpu_state(vc->rv);
    }
    for (uint32_t i = 0; i < lx->vcpu_count; i++) {
        snprintf(name, sizeof name, "vcpu %u", i);
        if (os_thread_start(&lx->vcpus[i].thread, name, VCPU_STACK_SIZE, lx_vcpu_main,
                            &lx->vcpus[i], err))
            return FAIL;
        lx_lock(lx);
        lx->started++;
        lx_unlock(lx);
    }
    return OK;
}

void lx_signal_init(struct lx *lx, int signo)
{
    if (signo < 1 || signo > LX_SIG_COUNT)
        return;
    lx_lock(lx);
    struct lx_siginfo info = {.signo = signo, .code = SI_USER};
    if (!lx->ending)
        lx_send(lx->init, NULL, &info);
    lx_unlock(lx);
}

void lx_kill(struct lx *lx)
{
    for (uint32_t i = 0; i < lx->started;
         i++) /* they leave guest code while we wait for the lock */
        run_kick(lx->vcpus[i].rv);
    lx_lock(lx);
    lx_end_begin(lx, LX_END_KILLED, 0, "killed");
    lx_unlock(lx);
}

void lx_pause(struct lx *lx)
{
    lx_lock(lx);
    if (!lx->pausing) {
        lx->pausing = true;
        for (uint32_t i = 0; i < lx->vcpu_count; i++)
            if (lx->vcpus[i].rv)
                run_kick(lx->vcpus[i].rv);
        while (lx->active && !lx->ended_reported)
            pthread_cond_wait(&lx->still, &lx->lock);
        lx->clock_stopped_ns = os_now_ns() - lx->clock_base_ns;
    }
    lx_unlock(lx);
}

void lx_resume(struct lx *lx)
{
    lx_lock(lx);
    if (lx->pausing) {
        lx->clock_base_ns = os_now_ns() - lx->clock_stopped_ns;
        lx->clock_stopped_ns = UINT64_MAX;
        lx->pausing = false;
        lx->armed_ns = UINT64_MAX;
        if (lx->runq_count && lx->slice_due_ns != UINT64_MAX)
            lx->slice_due_ns = os_now_ns();
        pthread_cond_broadcast(&lx->work);
        lx_tick_arm(lx);
    }
    lx_unlock(lx);
}

bool lx_ended(struct lx *lx, struct lx_end *out)
{
    lx_lock(lx);
    bool ended = lx->ended_reported;
    if (ended && out)
        *out = lx->end;
    lx_unlock(lx);
    return ended;
}

void lx_free(struct lx *lx)
{
    if (!lx)
        return;
    lx_lock(lx);
    lx->config.ended = NULL;
    lx->config.console = NULL;
    lx_end_begin(lx, LX_END_KILLED, 0, "freed");
    lx_unlock(lx);
    for (uint32_t i = 0; i < lx->started; i++)
        pthread_join(lx->vcpus[i].thread, NULL);
    lx_tick_remove(&lx->tick);
    lx_process_free_all(lx);
    lx_futex_sweep(lx);
    if (lx->vfs)
        lx_vfs_free(lx->vfs);
    if (lx->vdso)
        mem_object_put(lx->vdso);
    for (uint32_t i = 0; lx->vcpus && i < lx->vcpu_count; i++)
        if (lx->vcpus[i].rv)
            run_vcpu_free(lx->vcpus[i].rv);
    free(lx->vcpus);
    free(lx->unknown);
    pthread_cond_destroy(&lx->still);
    pthread_cond_destroy(&lx->work);
    pthread_mutex_destroy(&lx->lock);
    free(lx);
}

/* ---- the console, from outside ---- */

size_t lx_console_read(struct lx *lx, int stream, void *p, size_t n)
{
    lx_lock(lx);
    size_t got = lx_con_read(lx->vfs, stream, p, n);
    lx_unlock(lx);
    return got;
}

size_t lx_console_write(struct lx *lx, const void *p, size_t n)
{
    lx_lock(lx);
    size_t put = lx_con_write(lx->vfs, p, n);
    lx_unlock(lx);
    return put;
}

void lx_console_eof(struct lx *lx)
{
    lx_lock(lx);
    lx_con_eof(lx->vfs);
    lx_unlock(lx);
}

void lx_console_resize(struct lx *lx, uint16_t rows, uint16_t cols)
{
    lx_lock(lx);
    lx_con_resize(lx->vfs, rows, cols);
    lx_unlock(lx);
}

void lx_stats(struct lx *lx, struct lx_stats *out)
{
    lx_lock(lx);
    *out = (struct lx_stats){
        .cpu_ns = lx->saved_cpu_ns + lx_total_cpu_ns(lx),
        .syscalls = lx->call_count,
        .overlay_bytes = lx_vfs_overlay_bytes(lx->vfs),
        .processes = lx->process_count,
    };
    lx_unlock(lx);
}
