/*
 * linux/lx.h - an emulated Linux kernel for one guest: the outer door, used by engine/vm.
 *
 * Looks into: cpu, guest, memory, image, execute, snapshot, profile.  Used by: vm.
 * No guest system call passes through to the host kernel: files, processes, signals, terminals, sockets and clocks
 * are this room's own objects.
 */
#ifndef LINUX_LX_H
#define LINUX_LX_H

#include "engine/base/err.h"
#include "engine/execute/run.h"

struct lx;
struct mem_pool;
struct snap_writer;
struct snap_reader;

struct lx_config {
    const char *name;            /* host name */
    struct run_engine *engine;
    struct mem_pool *pool;
    const struct lx_arch *arch;  /* call numbers, signal frame, vdso: engine/linux/riscv */
    int image_fd;                /* -1: empty root; borrowed for the life of the lx */
    uint32_t vcpus;
    uint32_t processes_max, files_max;
    uint64_t memory_bytes;       /* what sysinfo says there is; 0: 512 MiB */
    uint64_t overlay_bytes_max, cpu_ns_max;
    bool tty;
    uint16_t rows, cols;
    const char *const *argv, *const *envp, *cwd;
    uint32_t uid, gid;
    const void *program;         /* see vm_config.program */
    size_t program_bytes;
    /* Callbacks from guest threads, with lx.lock held: only wake somebody. */
    void *ctx;
    void (*console)(void *ctx);
    void (*ended)(void *ctx);
};

enum lx_end_kind { LX_END_EXIT, LX_END_SIGNAL, LX_END_LIMIT, LX_END_KILLED, LX_END_ERROR };
struct lx_end {
    enum lx_end_kind kind;
    int code;
    char text[200];
};

/* Makes the file system and the first process (pid 1), loads its program; nothing runs yet. */
res_t lx_new(const struct lx_config *c, struct lx **lx, struct err *err);
/* Starts the vCPU threads (once). */
res_t lx_start(struct lx *lx, struct err *err);
void lx_signal_init(struct lx *lx, int signo);  /* from outside, as root */
void lx_kill(struct lx *lx);                    /* everything ends now; ended() follows */
void lx_pause(struct lx *lx);                   /* returns when every vCPU stands still; clocks stop */
void lx_resume(struct lx *lx);
bool lx_ended(struct lx *lx, struct lx_end *out);
void lx_free(struct lx *lx);                    /* joins */

size_t lx_console_read(struct lx *lx, int stream, void *p, size_t n);
size_t lx_console_write(struct lx *lx, const void *p, size_t n);
void lx_console_eof(struct lx *lx);
void lx_console_resize(struct lx *lx, uint16_t rows, uint16_t cols);

struct lx_stats {
    uint64_t cpu_ns, syscalls, overlay_bytes;
    uint32_t processes;
};
void lx_stats(struct lx *lx, struct lx_stats *out);

/* Of a paused lx. */
res_t lx_save(struct lx *lx, struct snap_writer *w, struct err *err);
res_t lx_load(const struct lx_config *c, struct snap_reader *r, struct lx **lx, struct err *err);

extern const struct lx_arch lx_rv_arch; /* engine/linux/riscv */

#endif
