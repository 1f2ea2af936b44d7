/*
 * A host for tests of the code cache: blocks of a few bytes that say where they are and go on or leave.
 *
 * enter(v, host) jumps to host with v in rdi. A block writes its pc to r[5], counts in r[6], polls exit_req (leaves with
 * POLL, pc = its own), then leads to its target through a chainable exit. A block with target 0 leaves with NEXT.
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include "engine/host/host.h"

#include <string.h>

#define FAKE_BLOCK_BYTES_MAX 160u

static uint8_t *fake_put(uint8_t *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}
static uint8_t *fake_u32(uint8_t *p, uint32_t x)
{
    return fake_put(p, &x, 4);
}

static uint32_t fake_features(void)
{
    return 0;
}

static res_code_t fake_emit_stubs(const struct host_options *o, struct host_code *c,
                                  struct host_stubs *out, struct err *err)
{
    (void)o;
    (void)err;
    uint8_t *p = fake_put(c->w, "\xff\xe6", 2); /* jmp *%rsi */
    out->enter = 0;
    out->fault = 16;
    p = fake_put(c->w + 16, "\xb8", 1); /* mov $FAULT, %eax; ret */
    p = fake_u32(p, CPU_EXIT_FAULT);
    fake_put(p, "\xc3", 1);
    out->len = 32;
    return OK;
}

static void fake_patch(void *site, uint32_t site_off, uint32_t target_off)
{
    __atomic_store_n((uint32_t *)site, target_off - (site_off + 4), __ATOMIC_RELEASE);
}

/* A block at pc that goes to target. Fails like a real one if there is no room. */
static res_code_t fake_block(struct host_code *c, gva_t pc, gva_t target, struct host_exit *e,
                             struct host_pcmap *map)
{
    if (c->w_bytes < FAKE_BLOCK_BYTES_MAX)
        return FAIL;
    uint8_t *p = c->w;
    p = fake_put(p, "\x48\xb8", 2); /* mov $pc, %rax */
    p = fake_put(p, &pc, 8);
    p = fake_put(p, "\x48\x89\x87", 3); /* mov %rax, r5(%rdi) */
    p = fake_u32(p, offsetof(struct vcpu, r) + 5 * 8);
    p = fake_put(p, "\x48\xff\x87", 3); /* incq r6(%rdi) */
    p = fake_u32(p, offsetof(struct vcpu, r) + 6 * 8);
    p = fake_put(p, "\x83\xbf", 2); /* cmpl $0, exit_req(%rdi) */
    p = fake_u32(p, offsetof(struct vcpu, exit_req));
    p = fake_put(p, "\x00\x74\x0d", 3); /* je +13 */
    p = fake_put(p, "\x48\x89\x87", 3); /* mov %rax, pc(%rdi) */
    p = fake_u32(p, offsetof(struct vcpu, pc));
    p = fake_put(p, "\xb8", 1); /* mov $POLL, %eax; ret */
    p = fake_u32(p, CPU_EXIT_POLL);
    p = fake_put(p, "\xc3", 1);
    if (!target) {
        p = fake_put(p, "\xb8", 1);
        p = fake_u32(p, CPU_EXIT_NEXT);
        p = fake_put(p, "\xc3", 1);
        c->exit_count = 0;
    } else {
        while ((p + 1 - c->w) % 4)
            *p++ = 0x90;
        p = fake_put(p, "\xe9", 1); /* jmp stub */
        *e = (struct host_exit){.target = target};
        e->patch_off = (uint32_t)(p - c->w);
        p = fake_u32(p, 0);
        e->stub_off = (uint32_t)(p - c->w);
        p = fake_put(p, "\xc7\x87", 2); /* movl $site, exit_site(%rdi) */
        p = fake_u32(p, offsetof(struct vcpu, exit_site));
        p = fake_u32(p, c->cache_off + e->patch_off);
        p = fake_put(p, "\xb8", 1); /* mov $CHAIN, %eax; ret */
        p = fake_u32(p, CPU_EXIT_CHAIN);
        p = fake_put(p, "\xc3", 1);
        c->exits = e;
        c->exit_count = 1;
        fake_patch(c->w + e->patch_off, e->patch_off, e->stub_off);
    }
    map[0] = (struct host_pcmap){.host_off = 0, .pc_off = 0};
    map[1] = (struct host_pcmap){.host_off = 13, .pc_off = 4, .borrowed = 7};
    map[2] = (struct host_pcmap){.host_off = 20, .pc_off = 2, .uncounted = 200};
    c->map = map;
    c->map_count = 3;
    c->len = (uint32_t)(p - c->w);
    return OK;
}

static const struct host_ops fake_host_ops = {
    .name = "fake",
    .features = fake_features,
    .emit_stubs = fake_emit_stubs,
    .patch = fake_patch,
};

#endif
