/*
 * linux/load.h - building the address space of a program: exec.c decides what, load.c maps it.
 *
 * Looks into: process.h, elf.h.  Used by: exec.c.
 */
#ifndef LINUX_LOAD_H
#define LINUX_LOAD_H

#include "engine/base/buf.h"
#include "engine/linux/elf.h"
#include "engine/linux/process.h"

struct lx_binary {
    struct lx_file *file; /* a reference */
    struct lx_elf elf;
    uint64_t bias; /* what was added to its addresses */
};

struct lx_exec {
    char *path;                       /* as given: AT_EXECFN */
    struct lx_binary program, interp; /* interp.file NULL: none */
    struct buf args, envs;            /* NUL-terminated strings, one behind the other */
    uint32_t argc, envc;
    uint64_t stack_bytes;
    bool secure;
    uint32_t uid, euid, gid, egid; /* after set-user-id */
    /* results */
    struct lx_mm *mm;
    gva_t entry, sp, arg_start, arg_end, env_start, env_end, stack_top;
};

/* Parse f's head and table. -ENOEXEC, -ENOMEM, -EIO ... with err's text. */
int lx_binary_read(struct lx_binary *b, uint64_t window_end, uint16_t machine, struct err *err);
void lx_binary_fini(struct lx_binary *b);
/* A new mm with everything in it. -errno; x->mm is set only on success. */
int lx_load_program(struct lx *lx, struct lx_exec *x, struct err *err);

#endif
