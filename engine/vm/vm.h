/*
 * vm/vm.h - an instance: one guest (here: a program) from creation to its end. The engine's outer door,
 * used by the worker, by tests and by tests/bench; nothing outside the engine includes anything else of it.
 *
 * Looks into: everything in engine.  Used by: daemon/worker, tests.
 *
 * Life:   vm_create -> vm_start -> (vm_signal | vm_kill | vm_pause/vm_resume | console)* -> ended -> vm_free
 * Threads: vm_create starts none. vm_start starts the guest's vCPU threads and its translator thread.
 *   All functions may be called from any one thread at a time per vm (the worker's loop); callbacks come
 *   from the guest's threads and must only wake a loop (uv_async_send, eventfd), never call back in.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

struct vm_limits {
    uint64_t memory_bytes;  /* private writable guest memory; 0: 512 MiB */
    uint64_t overlay_bytes; /* files written above the image; 0: 64 MiB */
    uint32_t processes;     /* 0: 256 (threads count) */
    uint32_t files;         /* open files per process; 0: 1024 */
    uint64_t cpu_ns;        /* CPU time of all vCPUs together; 0: none */
    uint64_t cache_bytes;   /* code cache; 0: 16 MiB; at least 64 KiB */
    uint32_t arena_bytes;   /* code cache arenas; 0: 64 KiB; at least 8 KiB */
};

struct vm_config {
    const char *name;         /* at most 63 bytes; also the guest's host name */
    int image_fd;             /* an EROFS image, read only; duplicated. -1: an empty root */
    const char *const *argv;  /* NULL-terminated; argv[0] is looked up in PATH inside the guest */
    const char *const *envp;  /* NULL-terminated, or NULL for PATH, HOME, TERM */
    const char *cwd;          /* NULL: / */
    uint32_t uid, gid;
    bool tty;                 /* stdin, stdout, stderr are a terminal (else three pipes) */
    uint16_t rows, cols;      /* of the terminal; 0: 24 x 80 */
    uint32_t vcpus;           /* 0: 1; at most 16 */
    uint32_t window_bits;     /* 0: 36; 32: the 4 GiB window */
    struct vm_limits limits;
    uint32_t host_features_off; /* HOST_FEATURE_* of engine/host/host.h to pretend absent */
    bool no_translate;        /* T0 only */
    bool no_chain;            /* T1 without direct chaining */
    uint32_t block_insns_max; /* 0: default; 1: one-instruction blocks */
    uint32_t t1_threshold;    /* entries before a block is translated; 0: default; 1: at once */
    /* An ELF program to run as argv[0] even if the image holds none: its bytes are put into the overlay as
     * /vivarium/init. For tests and benchmarks. */
    const void *program;
    size_t program_bytes;
};

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_ENDED };

enum vm_end_kind {
    VM_END_EXIT,   /* init exited: code */
    VM_END_SIGNAL, /* init was killed by a signal: code is its number */
    VM_END_LIMIT,  /* a limit: text says which */
    VM_END_KILLED, /* vm_kill */
    VM_END_ERROR,  /* the instance could not go on: text says why */
};

struct vm_end {
    enum vm_end_kind kind;
    int code;
    char text[200]; /* one line for people, e.g. "SIGSEGV at pc 0x10456 (ld a0,0(a1)), address 0x0" */
    bool fault;     /* a trap ended it: the next three say where */
    uint64_t pc, address;
    char insn[64];
};

/* Called from a guest thread. */
struct vm_callbacks {
    void *ctx;
    void (*console)(void *ctx); /* output is there, or input room is there again */
    void (*ended)(void *ctx);   /* state became VM_ENDED; console output may still be unread */
};

/* What the process needs once: fault handlers, the page map. vm_create does it too; a worker calls it before it hears
 * the first message, so that afterwards it opens nothing and handles no signal anew. */
res_t vm_process_init(struct err *err);

/* Fails: ERR_BAD_IMAGE, ERR_NOT_FOUND (program), ERR_BAD_ELF, ERR_INVALID, ERR_NO_MEMORY. */
res_t vm_create(const struct vm_config *config, const struct vm_callbacks *cb, struct vm **vm, struct err *err);
res_t vm_start(struct vm *vm, struct err *err);
/* Deliver a Linux signal to init, as from outside (SIGTERM 15, SIGINT 2, ...). */
res_t vm_signal(struct vm *vm, int signo, struct err *err);
/* End it now: every vCPU leaves guest code at its next poll; ended() follows. Returns at once. */
void vm_kill(struct vm *vm);
res_t vm_pause(struct vm *vm, struct err *err); /* returns when every vCPU stands still */
res_t vm_resume(struct vm *vm, struct err *err);
enum vm_state vm_state(const struct vm *vm);
/* Valid once VM_ENDED. */
const struct vm_end *vm_end(const struct vm *vm);
/* Block until VM_ENDED or timeout (ns, UINT64_MAX: for ever); false on timeout. */
bool vm_wait(struct vm *vm, uint64_t timeout_ns);

/* Console. stream: 1 stdout (or the terminal), 2 stderr. Bytes taken now, 0 if none. The guest's writers block
 * while their 64 KiB ring is full: an unread console stops the guest, it never grows. */
size_t vm_console_read(struct vm *vm, int stream, void *p, size_t n);
/* Bytes accepted now (the rest when console() was called again). */
size_t vm_console_write(struct vm *vm, const void *p, size_t n);
void vm_console_eof(struct vm *vm); /* stdin ends (pipes); terminals get ^D from their user */
void vm_console_resize(struct vm *vm, uint16_t rows, uint16_t cols);

struct vm_stats {
    uint64_t cpu_ns, guest_insns_t0, blocks_translated, guest_insns_translated, host_bytes_emitted;
    uint64_t translate_ns, lookups_missed, retired, evictions, syscalls, faults;
    uint64_t memory_bytes, overlay_bytes;
    uint32_t processes;
};
void vm_stats(struct vm *vm, struct vm_stats *out);
/* Every counter of the engine (engine/profile/counters.def): how many, the name of one, their values. */
size_t vm_counter_count(void);
const char *vm_counter_name(size_t i);
void vm_counters(struct vm *vm, uint64_t *values);

/* Snapshot of a paused instance: records to *out (malloced), pages appended to page_fd. */
res_t vm_save(struct vm *vm, int page_fd, void **out, size_t *n, struct err *err);
/* A new instance from records; config gives the image, callbacks, limits; it starts paused. */
res_t vm_load(const struct vm_config *config, const struct vm_callbacks *cb, const void *p, size_t n, int page_fd,
              struct vm **vm, struct err *err);

/* Kills if need be, joins the threads, frees. */
void vm_free(struct vm *vm);

#endif
