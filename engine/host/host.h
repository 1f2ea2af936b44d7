/*
 * host/host.h - what a host gives to the engine: lowering of micro-ops, the stubs that enter and leave
 * translated code, and patching. Implemented by engine/host/x64.
 *
 * Looks into: cpu, ir.  Used by: codecache, translate, execute.
 *
 * All addresses in here are offsets in the code cache, so emitted code is position independent: guest memory
 * is reached through %gs or the window register, stubs by rel32 inside the cache.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "engine/base/arena.h"
#include "engine/cpu/vcpu.h"

struct ir_block;

enum host_feature {
    HOST_FEATURE_AVX = 1,      /* VEX forms; without it legacy SSE */
    HOST_FEATURE_FMA = 2,      /* without it T0 executes fused multiply-add */
    HOST_FEATURE_BMI2 = 4,     /* without it rcx is not pinned: shifts need it */
    HOST_FEATURE_AVX512 = 8,   /* F + VL + DQ: 32 xmm registers */
    HOST_FEATURE_BMI1 = 16,
    HOST_FEATURE_LZCNT = 32,
    HOST_FEATURE_FSGSBASE = 64, /* wrgsbase from user mode; else arch_prctl */
};

struct host_options {
    uint32_t features;     /* of the host, less what was masked off */
    uint32_t gst_options;  /* GST_* of guest/guest.h */
    uint64_t window_bytes;
    unsigned sp_reg;
    bool no_chain;
    bool count;            /* count executed guest instructions into v->icount */
};

/* A direct exit: a rel32 at patch_off that leads to stub_off until it is chained. */
struct host_exit {
    gva_t target;
    uint32_t patch_off, stub_off; /* from the block's start */
};

/* Behind a call: where pc may be entered too, so that the host's return stack is right about who returns there. */
struct host_landing {
    gva_t pc;
    uint32_t host_off;
};

/* Host offset -> guest pc, where a fault may happen: the group that starts at pc_off covers host bytes from host_off to the next entry. */
struct host_pcmap {
    uint32_t host_off;
    uint32_t pc_off;   /* guest pc - block pc */
    uint8_t uncounted; /* with host_options.count: instructions of the block executed before this one that icount
                          does not hold yet; a fault here adds them */
    uint8_t borrowed;  /* 0, or 1 + number of the r[] whose host register is lent out here; the real value is in v->borrowed */
    uint16_t fixup;    /* 0, or offset from the block's start of code that brings registers up to date which the block had
                          put off, and leaves: to be entered once after a fault here, before anything looks at them */
};

/* In: w, w_bytes, cache_off, arena. Out: the rest; exits, landings and map live in the arena, where whoever publishes has his scratch, too. */
struct host_code {
    uint8_t *w;          /* the writable view of where it will run */
    uint32_t w_bytes;
    uint32_t cache_off;  /* of w[0] */
    struct arena *arena;
    uint32_t len;
    struct host_exit *exits;
    unsigned exit_count;
    struct host_landing *landings;
    unsigned landing_count;
    struct host_pcmap *map;
    unsigned map_count;
};

/* Offsets of the stubs that a cache starts with. */
struct host_stubs {
    uint32_t enter; /* C function: uint32_t enter(struct vcpu *v, const void *host): an enum cpu_exit */
    uint32_t fault; /* where the SIGSEGV handler resumes: stores registers home, leaves with CPU_EXIT_FAULT */
    uint32_t len;
    uint32_t priv[16]; /* the host's own: its other stubs and constants */
};

struct host_ops {
    const char *name;
    uint32_t (*features)(void);
    /* Write the stubs at the start of a cache. */
    res_code_t (*emit_stubs)(const struct host_options *o, struct host_code *c, struct host_stubs *out, struct err *err);
    /* Fails with ERR_CACHE_FULL if w_bytes do not suffice; a second try with fewer instructions may fit; nothing else can fail on a verified block. */
    res_code_t (*lower)(const struct host_options *o, const struct host_stubs *stubs, const struct ir_block *b,
                        struct host_code *c, struct err *err);
    /* Make the rel32 at site (writable view; cache offset site_off) lead to target_off: one aligned 4-byte store. */
    void (*patch)(void *site, uint32_t site_off, uint32_t target_off);
};

extern const struct host_ops x64_host_ops; /* engine/host/x64; named by engine/vm only */

#endif
