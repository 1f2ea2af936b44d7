/*
 * linux/exec.c - execve: finding the program behind #! lines, taking over arguments, and the point of no return.
 */
#include "engine/linux/load.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STRING_MAX ((size_t)128 << 10) /* one argument, as Linux */
#define STACK_DEFAULT_BYTES ((uint64_t)8 << 20)
#define STACK_MAX_BYTES ((uint64_t)64 << 20)
#define SCRIPT_LINE_MAX 256
#define SCRIPT_DEPTH_MAX 5

static void exec_fini(struct lx_exec *x)
{
    free(x->path);
    lx_binary_fini(&x->program);
    lx_binary_fini(&x->interp);
    buf_fini(&x->args);
    buf_fini(&x->envs);
}

static uint64_t args_max(const struct lx_exec *x)
{
    return x->stack_bytes / 4;
}

static uint64_t args_bytes(const struct lx_exec *x)
{
    return x->args.len + x->envs.len + 8 * ((uint64_t)x->argc + x->envc);
}

static int check_args(const struct lx_exec *x)
{
    if (x->args.failed || x->envs.failed)
        return -ENOMEM;
    return args_bytes(x) > args_max(x) ? -E2BIG : 0;
}

/* One string of the guest, appended with its NUL. */
static int take_string(struct mem_space *m, gva_t at, struct buf *to)
{
    size_t taken = 0;
    for (;;) {
        char piece[512];
        size_t n = mem_copy_in_some(m, piece, at, sizeof piece - (at & (sizeof piece - 1)));
        if (!n)
            return -EFAULT;
        char *end = memchr(piece, 0, n);
        size_t k = end ? (size_t)(end - piece) + 1 : n;
        taken += k;
        if (taken > STRING_MAX)
            return -E2BIG;
        buf_put(to, piece, k);
        if (end)
            return 0;
        at += n;
    }
}

static int take_vector(struct lx_exec *x, struct mem_space *m, gva_t at, struct buf *to,
                       uint32_t *count)
{
    for (; at; at += 8) {
        uint64_t pointer;
        if (!mem_copy_in(m, &pointer, at, sizeof pointer))
            return -EFAULT;
        if (!pointer)
            break;
        int rc = take_string(m, pointer, to);
        ++*count;
        if (!rc)
            rc = check_args(x);
        if (rc)
            return rc;
    }
    return 0;
}

static void put_string(struct buf *b, const char *s, uint32_t *count)
{
    buf_put(b, s, strlen(s) + 1);
    ++*count;
}

/* "#!interpreter argument": the interpreter and its argument into line; false: malformed. */
static bool script_line(char *line, size_t n, char **interp, char **arg)
{
    char *end = memchr(line, '\n', n), *at = line + 2;
    bool whole = end || n < SCRIPT_LINE_MAX;
    if (!end)
        end = line + n;
    *end = 0;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    at += strspn(at, " \t");
    *interp = at;
    at += strcspn(at, " \t");
    if (!**interp || (!*at && !whole)) /* the path itself may have been cut */
        return false;
    *arg = NULL;
    if (*at) {
        *at++ = 0;
        at += strspn(at, " \t");
        *arg = *at ? at : NULL;
    }
    return true;
}

/* argv becomes {interpreter, [argument], script, argv[1] ...}. */
static int rewrite_args(struct lx_exec *x, const char *interp, const char *arg, const char *script)
{
    struct buf old = x->args;
    size_t first = old.len ? strlen((const char *)old.data) + 1 : 0;
    uint32_t rest = x->argc ? x->argc - 1 : 0;
    x->args = (struct buf){0};
    x->argc = 0;
    put_string(&x->args, interp, &x->argc);
    if (arg)
        put_string(&x->args, arg, &x->argc);
    put_string(&x->args, script, &x->argc);
    if (old.len > first)
        buf_put(&x->args, old.data + first, old.len - first);
    x->argc += rest;
    buf_fini(&old);
    return check_args(x);
}

/* Follow #! lines until there is something else: x->program.file. */
static int find_binary(struct lx_process *p, struct lx_exec *x, int64_t dirfd, const char *path,
                       int flags)
{
    char line[SCRIPT_LINE_MAX + 1];
    CLEANUP(free_ptr) char *script = strdup(x->path);
    if (!script)
        return -ENOMEM;
    int rc = lx_exec_open(p, dirfd, path, flags, &x->program.file);
    for (int depth = 0; !rc; depth++) {
        char *interp, *arg;
        int64_t n = lx_file_pread(x->program.file, 0, line, SCRIPT_LINE_MAX);
        if (n < 0)
            return (int)n;
        line[n] = 0;
        if (n < 2 || line[0] != '#' || line[1] != '!')
            return 0;
        if (depth == SCRIPT_DEPTH_MAX)
            return -ELOOP;
        if (!script_line(line, (size_t)n, &interp, &arg))
            return -ENOEXEC;
        if ((rc = rewrite_args(x, interp, arg, script)))
            return rc;
        lx_file_put(x->program.file);
        x->program.file = NULL;
        free(script);
        script = strdup(interp);
        if (!script)
            return -ENOMEM;
        rc = lx_exec_open(p, -100 /* AT_FDCWD */, interp, 0, &x->program.file);
    }
    return rc;
}

static int find_interp(struct lx_process *p, struct lx_exec *x, uint64_t window_end,
                       struct err *err)
{
    char path[LX_ELF_INTERP_MAX];
    const struct lx_elf *e = &x->program.elf;
    if (!e->interp_bytes)
        return 0;
    int64_t n = lx_file_pread(x->program.file, e->interp_offset, path, e->interp_bytes);
    if (n != (int64_t)e->interp_bytes || path[n - 1]) {
        err_set(err, ERR_BAD_ELF, "the interpreter's name at 0x%llx is not a string",
                (unsigned long long)e->interp_offset);
        return -ENOEXEC;
    }
    int rc = lx_exec_open(p, -100, path, 0, &x->interp.file);
    if (rc) {
        err_set(err, rc == -ENOENT ? ERR_NOT_FOUND : ERR_INVALID, "interpreter %.200s: %s", path,
                strerror(-rc));
        return rc;
    }
    rc = lx_binary_read(&x->interp, window_end, p->lx->arch->elf_machine, err);
    if (rc)
        err_wrap(err, "interpreter %.200s", path);
    return rc == -ENOEXEC ? -ELIBBAD : rc;
}

/* What the credentials will be; set-user-id counts unless it was renounced. */
static void find_ids(struct lx_process *p, struct lx_exec *x)
{
    struct lx_file_info info;
    lx_file_info(x->program.file, &info);
    x->uid = p->uid, x->euid = p->euid, x->gid = p->gid, x->egid = p->egid;
    if (!p->priv->no_new_privs && (info.mode & S_ISUID))
        x->euid = info.uid;
    if (!p->priv->no_new_privs && (info.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        x->egid = info.gid;
    x->secure = x->uid != x->euid || x->gid != x->egid;
}

static int find_all(struct lx_process *p, struct lx_exec *x, int64_t dirfd, const char *path,
                    int flags, struct err *err)
{
    if (!x->argc) { /* Linux 5.18: never an empty argv */
        put_string(&x->args, "", &x->argc);
    }
    int rc = check_args(x);
    if (!rc)
        rc = find_binary(p, x, dirfd, path, flags);
    if (rc) {
        err_set(err, rc == -ENOENT || rc == -ENOTDIR ? ERR_NOT_FOUND : ERR_INVALID, "%s",
                strerror(-rc));
        return rc;
    }
    uint64_t window_end = lx_window_end(p->lx);
    rc = lx_binary_read(&x->program, window_end, p->lx->arch->elf_machine, err);
    if (!rc)
        rc = find_interp(p, x, window_end, err);
    if (!rc)
        find_ids(p, x);
    return rc;
}

static void set_names(struct lx_thread *t, const struct lx_exec *x)
{
    struct lx_process *p = t->p;
    const char *base = strrchr(x->path, '/');
    memset(p->comm, 0, sizeof p->comm);
    strncpy(p->comm, base ? base + 1 : x->path, sizeof p->comm - 1);
    memcpy(t->comm, p->comm, sizeof t->comm);
    char *exe = lx_file_path(x->program.file);
    if (exe) {
        free(p->exe_path);
        p->exe_path = exe;
    }
    p->arg_start = x->arg_start, p->arg_end = x->arg_end;
    p->env_start = x->env_start, p->env_end = x->env_end;
    p->stack_top = x->stack_top;
    p->uid = x->uid, p->euid = p->suid = x->euid;
    p->gid = x->gid, p->egid = p->sgid = x->egid;
}

/* The exec'ing thread takes over the leader's number. */
static void become_leader(struct lx_thread *t)
{
    if (t->tid == t->p->pid)
        return;
    HASH_DELETE(by_tid, t->lx->threads, t);
    t->tid = t->p->pid;
    HASH_ADD(by_tid, t->lx->threads, tid, sizeof t->tid, t);
    if (!t->by_tid.tbl)
        lx_end_begin(t->lx, LX_END_ERROR, 0, "no memory for the table of threads");
}

static void switch_mm(struct lx_thread *t, struct lx_mm *mm)
{
    struct lx_process *p = t->p;
    struct lx_mm *old = p->priv->mm;
    uint32_t zero = 0;
    if (old && t->robust_list)
        lx_futex_robust_exit(t);
    if (old && t->clear_tid && old->refs > 1 &&
        mem_copy_out(old->mem, t->clear_tid, &zero, sizeof zero))
        lx_futex_wake(p, t->clear_tid, 1, UINT32_MAX, true);
    t->clear_tid = t->robust_list = 0;
    p->priv->mm = mm;
    p->mem = mm->mem;
    p->code = mm->code;
    if (t->vcpu)
        lx_vcpu_bind_mm(t->vcpu, mm);
    lx_mm_put(t->lx, old);
}

/* What can fail before the point of no return: private copies of what is shared with other processes. */
static int make_private(struct lx_process *p)
{
    struct lx_process_private *v = p->priv;
    if (v->sighand->refs > 1) {
        struct lx_sighand *own = lx_sighand_new();
        if (!own)
            return -ENOMEM;
        memcpy(own->act, v->sighand->act, sizeof own->act);
        lx_sighand_put(v->sighand);
        v->sighand = own;
    }
    if (lx_files_shared(p->files)) {
        struct lx_files *own = lx_files_clone(p->files);
        if (!own)
            return -ENOMEM;
        lx_files_put(p->files, p);
        p->files = own;
    }
    return 0;
}

static void commit(struct lx_thread *t, struct lx_exec *x)
{
    struct lx_process *p = t->p;
    struct lx_process_private *v = p->priv;
    struct cpu_regs regs;
    become_leader(t);
    switch_mm(t, x->mm);
    lx_vfork_done(p);
    set_names(t, x);
    if (v->exe) {
        lx_file_exec_release(v->exe);
        lx_file_put(v->exe);
    }
    v->exe = x->program.file; /* held by our caller; both references pass on */
    x->program.file = NULL;
    lx_files_close_on_exec(p->files, p);
    lx_sigactions_flush_for_exec(p);
    t->altstack = (struct lx_altstack){.flags = 2};
    v->exit_signal = SIGCHLD;
    v->dumpable = !x->secure;
    p->execed = true;
    p->lx->arch->regs_init(&regs, x->entry, x->sp);
    lx_regs_put(t, &regs);
}

static int load_and_commit(struct lx_thread *t, struct lx_exec *x, struct err *err)
{
    int rc = make_private(t->p);
    if (!rc && (rc = lx_file_exec_hold(x->program.file)))
        err_set(err, ERR_INVALID, "%s", strerror(-rc));
    if (rc)
        return rc;
    rc = lx_load_program(t->lx, x, err);
    if (rc)
        lx_file_exec_release(x->program.file);
    else
        commit(t, x);
    return rc;
}

static uint64_t stack_bytes(const struct lx_process *p)
{
    uint64_t want = p->rlim_cur[LX_RLIM_STACK];
    if (want == UINT64_MAX)
        return STACK_DEFAULT_BYTES;
    return ALIGN_UP(MIN(MAX(want, (uint64_t)PAGE_SIZE * 32), STACK_MAX_BYTES), PAGE_SIZE);
}

res_t lx_exec_init(struct lx_process *p, const char *path, const char *const *argv,
                   const char *const *envp, struct err *err)
{
    struct lx_exec x = {.stack_bytes = stack_bytes(p), .path = strdup(path)};
    for (; *argv; argv++)
        put_string(&x.args, *argv, &x.argc);
    for (; *envp; envp++)
        put_string(&x.envs, *envp, &x.envc);
    struct lx_thread *t = list_entry(p->threads.next, struct lx_thread, link);
    struct err why = {.code = ERR_NO_MEMORY};
    int rc = x.path ? find_all(p, &x, -100, path, 0, &why) : -ENOMEM;
    if (!rc)
        rc = load_and_commit(t, &x, &why);
    exec_fini(&x);
    return rc ? err_set(err, why.code, "%s: %s", path, why.text[0] ? why.text : strerror(-rc)) : OK;
}

/* True when this is the only thread; else the others are on their way out. */
static bool alone(struct lx_call *c)
{
    struct lx_process *p = lx_call_process(c);
    if (p->priv->thread_count > 1)
        lx_kill_other_threads(p, c->t);
    return p->priv->thread_count == 1;
}

static int64_t exec_call(struct lx_call *c, int64_t dirfd, gva_t path_at, gva_t argv, gva_t envp,
                         int flags)
{
    struct lx_process *p = lx_call_process(c);
    char path[LX_PATH_MAX];
    int64_t n = mem_copy_str(p->mem, path, path_at, sizeof path);
    if (n < 0)
        return n;
    struct lx_exec x = {.stack_bytes = stack_bytes(p)};
    if (dirfd != -100 && path[0] != '/') {
        struct buf name = {0};
        buf_printf(&name, "/dev/fd/%d%s%s", (int)dirfd, path[0] ? "/" : "", path);
        buf_put_u8(&name, 0);
        x.path = name.failed ? NULL : strdup((const char *)name.data);
        buf_fini(&name);
    } else {
        x.path = strdup(path);
    }
    struct err err = {0};
    int64_t rc = x.path ? 0 : -ENOMEM;
    if (!rc)
        rc = take_vector(&x, p->mem, argv, &x.args, &x.argc);
    if (!rc)
        rc = take_vector(&x, p->mem, envp, &x.envs, &x.envc);
    if (!rc)
        rc = find_all(p, &x, dirfd, path, flags, &err);
    if (!rc && !alone(c))
        rc = lx_block(c, &p->priv->thread_wait);
    else if (!rc)
        rc = load_and_commit(c->t, &x, &err);
    exec_fini(&x);
    return rc ? rc : LX_NO_RESULT;
}

LX_SYS(execve)
{
    return exec_call(c, -100, c->arg[0], c->arg[1], c->arg[2], 0);
}

LX_SYS(execveat)
{
    if (c->arg[4] & ~0x1100u) /* AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW */
        return -EINVAL;
    return exec_call(c, (int32_t)c->arg[0], c->arg[1], c->arg[2], c->arg[3], (int)c->arg[4]);
}
