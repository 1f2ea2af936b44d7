/*
 * A guest made of a few hand-written riscv instructions, on the interpreter: for tests of the process side that need no
 * compiler for the guest.
 */
#ifndef TEST_LINUX_RIG_H
#define TEST_LINUX_RIG_H

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/guest/guest.h"
#include "engine/host/host.h"
#include "engine/linux/lx.h"
#include "engine/memory/memory.h"

#include <elf.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct host_ops x64_host_ops;

enum { ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7, S2, S3 };

/* One instruction each. */
static inline uint32_t op_addi(int rd, int rs, int imm)
{
    return (uint32_t)imm << 20 | (uint32_t)rs << 15 | (uint32_t)rd << 7 | 0x13;
}
#define LI(rd, imm) op_addi(rd, ZERO, imm) /* -2048..2047 */
#define MV(rd, rs) op_addi(rd, rs, 0)
#define LUI(rd, hi) ((uint32_t)(hi) << 12 | (uint32_t)(rd) << 7 | 0x37)
#define ECALL 0x73u
#define EBREAK 0x100073u
#define SELF 0x6fu /* j . */
#define ILLEGAL 0u
static inline uint32_t op_sd(int rs, int base, int off)
{
    return (uint32_t)(off >> 5) << 25 | (uint32_t)rs << 20 | (uint32_t)base << 15 | 3u << 12 |
           (uint32_t)(off & 31) << 7 | 0x23;
}
static inline uint32_t op_ld(int rd, int base, int off)
{
    return (uint32_t)off << 20 | (uint32_t)base << 15 | 3u << 12 | (uint32_t)rd << 7 | 0x03;
}
#define AUIPC(rd) ((uint32_t)(rd) << 7 | 0x17)
static inline uint32_t op_j(int bytes) /* jal zero */
{
    uint32_t b = (uint32_t)bytes;
    return (b >> 20 & 1) << 31 | (b >> 1 & 0x3ff) << 21 | (b >> 11 & 1) << 20 |
           (b >> 12 & 0xff) << 12 | 0x6f;
}
static inline uint32_t op_beqz(int rs, int bytes)
{
    uint32_t b = (uint32_t)bytes;
    return (b >> 12 & 1) << 31 | (b >> 5 & 0x3f) << 25 | (uint32_t)rs << 15 | (b >> 1 & 15) << 8 |
           (b >> 11 & 1) << 7 | 0x63;
}
#define CALL(nr) LI(A7, nr), ECALL

enum {
    SYS_EXIT = 94,
    SYS_NANOSLEEP = 101,
    SYS_CLOCK_GETTIME = 113,
    SYS_KILL = 129,
    SYS_SIGACTION = 134,
    SYS_GETPID = 172,
    SYS_PPOLL = 73,
    SYS_SUSPEND = 133,
    SYS_CLONE = 220,
    SYS_WAIT = 260
};

struct rig {
    struct run_engine *engine;
    struct mem_pool *pool;
    struct lx *lx;
    struct lx_config config;
    struct lx_end end;
    uint8_t elf[8192];
    const char *argv[2];
};

/* Text at 0x10000 + 120, readable, writable and executable, with a page of zeros behind. */
static inline size_t rig_elf(uint8_t *to, const uint32_t *code, size_t n)
{
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_EXEC,
                    .e_machine = EM_RISCV,
                    .e_version = EV_CURRENT,
                    .e_entry = 0x10078,
                    .e_phoff = 64,
                    .e_phentsize = 56,
                    .e_phnum = 1};
    Elf64_Phdr p = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_W | PF_X,
                    .p_vaddr = 0x10000,
                    .p_filesz = 120 + n * 4,
                    .p_memsz = 0x2000};
    memcpy(to, &h, sizeof h);
    memcpy(to + 64, &p, sizeof p);
    memcpy(to + 120, code, n * 4);
    return 120 + n * 4;
}

/* cmocka puts its own handlers in front of every test; the house's come back here. */
static inline void rig_handlers(void)
{
    static struct sigaction segv, bus;
    static bool known;
    struct err err;
    assert_int_equal(run_process_init(&err), OK);
    if (!known) {
        sigaction(SIGSEGV, NULL, &segv);
        sigaction(SIGBUS, NULL, &bus);
        known = true;
    }
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
}

static inline void rig_parts(struct rig *r)
{
    struct err err;
    memset(r, 0, sizeof *r);
    rig_handlers();
    assert_int_equal(run_thread_init(&err), OK);
    struct run_config rc = {.guest = &rv_guest_ops,
                            .host = &x64_host_ops,
                            .name = "rig",
                            .cache_bytes = 1 << 20,
                            .arena_bytes = 64 << 10,
                            .vcpu_count = 4,
                            .no_translate = true};
    assert_int_equal(run_engine_new(&rc, &r->engine, &err), OK);
    struct mem_pool_config pc = {.commit_bytes = 64 << 20, .maps = 4000, .window_bits = 36};
    assert_int_equal(mem_pool_new(&pc, &r->pool, &err), OK);
    r->argv[0] = "test";
    r->config = (struct lx_config){.name = "rig",
                                   .engine = r->engine,
                                   .pool = r->pool,
                                   .arch = &lx_rv_arch,
                                   .image_fd = -1,
                                   .vcpus = 1,
                                   .processes_max = 64,
                                   .files_max = 64,
                                   .overlay_bytes_max = 16 << 20,
                                   .argv = r->argv,
                                   .program = r->elf};
}

static inline void rig_start(struct rig *r, const uint32_t *code, size_t n)
{
    struct err err;
    r->config.program_bytes = rig_elf(r->elf, code, n);
    assert_int_equal(lx_new(&r->config, &r->lx, &err), OK);
    assert_int_equal(lx_start(r->lx, &err), OK);
}
#define RIG_START(r, ...)                       \
    do {                                        \
        const uint32_t code_[] = {__VA_ARGS__}; \
        rig_start(r, code_, ARRAY_LEN(code_));  \
    } while (0)

/* False after 10 s. */
static inline bool rig_wait(struct rig *r)
{
    for (int i = 0; i < 100000; i++) {
        if (lx_ended(r->lx, &r->end))
            return true;
        usleep(100);
    }
    return false;
}

static inline void rig_stop(struct rig *r)
{
    lx_free(r->lx);
    run_engine_free(r->engine);
    mem_pool_free(r->pool);
    run_thread_fini();
}

#endif
