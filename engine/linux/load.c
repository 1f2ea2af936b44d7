/*
 * linux/load.c - an ELF program becomes an address space: segments mapped from the file, heap, stack, vdso, auxiliary
 * vector.
 */
#include "engine/linux/load.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define TOP_GAP_BYTES ((uint64_t)1 << 30) /* memory.h, rule (1) */
#define STACK_GUARD_BYTES ((uint64_t)1 << 20)
#define PIE_ALIGN ((uint64_t)2 << 20)
#define CLOCK_TICKS 100

uint64_t lx_window_end(struct lx *lx)
{
    return ((uint64_t)1 << lx->window_bits) - TOP_GAP_BYTES;
}

void lx_binary_fini(struct lx_binary *b)
{
    if (b->file)
        lx_file_put(b->file);
    b->file = NULL;
    lx_elf_fini(&b->elf);
}

static int os_code(const struct err *err)
{
    return err->code == ERR_BAD_ELF ? -ENOEXEC : -ENOMEM;
}

int lx_binary_read(struct lx_binary *b, uint64_t window_end, uint16_t machine, struct err *err)
{
    struct lx_file_info info;
    uint8_t head[LX_ELF_HEAD_BYTES];
    lx_file_info(b->file, &info);
    int64_t n = lx_file_pread(b->file, 0, head, sizeof head);
    if (n < 0) {
        err_set(err, ERR_INVALID, "cannot be read: %s", strerror((int)-n));
        return (int)n;
    }
    if (lx_elf_head(head, (size_t)n, info.size, machine, &b->elf, err))
        return os_code(err);
    size_t bytes = b->elf.table_count * sizeof(Elf64_Phdr);
    CLEANUP(free_ptr) void *table = malloc(bytes);
    if (!table) {
        err_set(err, ERR_NO_MEMORY, "%zu bytes", bytes);
        return -ENOMEM;
    }
    n = lx_file_pread(b->file, b->elf.table_offset, table, bytes);
    if (n < 0)
        return (int)n;
    return lx_elf_table(table, (size_t)n, info.size, window_end, &b->elf, err) ? os_code(err) : 0;
}

/* The bytes behind the file's part up to the end of its page read as zero: bss begins there. */
static int zero_tail(struct mem_space *m, const struct lx_elf_segment *s, gva_t file_end)
{
    static const uint8_t zeros[PAGE_SIZE];
    uint64_t n = -file_end & (PAGE_SIZE - 1);
    if (!n || !(s->prot & MEM_W))
        return 0; /* a read-only tail stays as the file has it, as in Linux */
    return mem_copy_out(m, file_end, zeros, n) ? 0 : -EFAULT;
}

static int map_segment(struct mem_space *m, struct lx_binary *b, const struct lx_elf_segment *s,
                       const char *name)
{
    gva_t at = b->bias + s->address, start = ALIGN_DOWN(at, PAGE_SIZE),
          file_end = at + s->file_bytes;
    gva_t map_end = start, end = ALIGN_UP(at + s->bytes, PAGE_SIZE);
    if (s->file_bytes) {
        struct mem_object *o = NULL;
        int rc = lx_file_map_object(b->file, s->prot, false, &o);
        if (rc)
            return rc;
        map_end = ALIGN_UP(file_end, PAGE_SIZE);
        int64_t got = mem_map(m, start, map_end - start, s->prot, MEM_FIXED, o,
                              ALIGN_DOWN(s->offset, PAGE_SIZE), name);
        mem_object_put(o);
        if (got < 0)
            return (int)got;
        if (s->bytes > s->file_bytes && (rc = zero_tail(m, s, file_end)))
            return rc;
    }
    if (end > map_end) {
        int64_t got = mem_map(m, map_end, end - map_end, s->prot, MEM_FIXED, NULL, 0, NULL);
        if (got < 0)
            return (int)got;
    }
    return 0;
}

/* Where a position-independent program goes: two thirds up, as Linux without randomisation; an interpreter where there is room. */
static int place(struct mem_space *m, struct lx_binary *b, bool main_program, uint64_t window_end)
{
    uint64_t span = b->elf.high - b->elf.low;
    b->bias = 0;
    if (!b->elf.relative)
        return 0;
    gva_t hint = main_program ? ALIGN_DOWN(window_end / 3 * 2, PIE_ALIGN) : 0;
    int64_t got = mem_map(m, hint, span, 0, MEM_NORESERVE, NULL, 0, NULL);
    if (got < 0)
        return (int)got;
    b->bias = (uint64_t)got - b->elf.low;
    return mem_unmap(m, (gva_t)got, span);
}

static int map_binary(struct mem_space *m, struct lx_binary *b, bool main_program,
                      uint64_t window_end)
{
    int rc = place(m, b, main_program, window_end);
    CLEANUP(free_ptr) char *name = lx_file_path(b->file);
    for (uint32_t i = 0; i < b->elf.segment_count && !rc; i++)
        rc = map_segment(m, b, &b->elf.segments[i], name);
    return rc;
}

static int map_stack(struct lx_exec *x, uint64_t window_end)
{
    struct mem_space *m = x->mm->mem;
    gva_t low = window_end - x->stack_bytes;
    int64_t got =
        mem_map(m, low, x->stack_bytes, MEM_R | MEM_W,
                MEM_FIXED | MEM_STACK | MEM_GROWSDOWN | MEM_NORESERVE, NULL, 0, "[stack]");
    if (got >= 0)
        got = mem_map(m, low - STACK_GUARD_BYTES, STACK_GUARD_BYTES, 0,
                      MEM_NOREPLACE | MEM_NORESERVE, NULL, 0, NULL);
    x->stack_top = window_end;
    return got < 0 ? (int)got : 0;
}

static void put_pointers(struct buf *b, gva_t at, const struct buf *strings)
{
    for (size_t i = 0; i < strings->len; i += strlen((const char *)strings->data + i) + 1)
        buf_put_u64(b, at + i);
    buf_put_u64(b, 0);
}

static void put_auxv(struct lx *lx, struct lx_exec *x, struct buf *b, gva_t random, gva_t execfn)
{
    const struct lx_elf *e = &x->program.elf;
    const uint64_t aux[][2] = {
        {AT_SYSINFO_EHDR, x->mm->vdso},
        {AT_HWCAP, lx->arch->hwcap},
        {AT_PAGESZ, PAGE_SIZE},
        {AT_CLKTCK, CLOCK_TICKS},
        {AT_PHDR, e->table_address ? x->program.bias + e->table_address : 0},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, e->table_count},
        {AT_BASE, x->interp.file ? x->interp.bias : 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, x->program.bias + e->entry},
        {AT_UID, x->uid},
        {AT_EUID, x->euid},
        {AT_GID, x->gid},
        {AT_EGID, x->egid},
        {AT_SECURE, x->secure},
        {AT_RANDOM, random},
        {AT_EXECFN, execfn},
        {AT_NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(aux); i++) {
        buf_put_u64(b, aux[i][0]);
        buf_put_u64(b, aux[i][1]);
    }
}

/* From the top: 8 zero bytes, the path, the environment's strings, the arguments' strings, 16 random bytes; then, sp aligned to
 * 16: argc, argv, envp, auxv. */
static int fill_stack(struct lx *lx, struct lx_exec *x)
{
    struct mem_space *m = x->mm->mem;
    uint8_t random[16];
    gva_t execfn = x->stack_top - 8 - (strlen(x->path) + 1);
    x->env_end = execfn;
    x->env_start = x->arg_end = execfn - x->envs.len;
    x->arg_start = x->arg_end - x->args.len;
    gva_t random_at = ALIGN_DOWN(x->arg_start - sizeof random, 16);
    lx_random_bytes(lx, random, sizeof random);
    struct buf v = {0};
    buf_put_u64(&v, x->argc);
    put_pointers(&v, x->arg_start, &x->args);
    put_pointers(&v, x->env_start, &x->envs);
    put_auxv(lx, x, &v, random_at, execfn);
    int rc = v.failed ? -ENOMEM : 0;
    x->sp = ALIGN_DOWN(random_at - v.len, 16);
    if (!rc && (!mem_copy_out(m, execfn, x->path, strlen(x->path) + 1) ||
                !mem_copy_out(m, x->env_start, x->envs.data, x->envs.len) ||
                !mem_copy_out(m, x->arg_start, x->args.data, x->args.len) ||
                !mem_copy_out(m, random_at, random, sizeof random) ||
                !mem_copy_out(m, x->sp, v.data, v.len)))
        rc = -ENOMEM;
    buf_fini(&v);
    return rc;
}

static int build(struct lx *lx, struct lx_exec *x)
{
    struct mem_space *m = x->mm->mem;
    uint64_t window_end = lx_window_end(lx);
    int rc = map_stack(x, window_end);
    if (!rc)
        rc = map_binary(m, &x->program, true, window_end);
    if (!rc && x->interp.file)
        rc = map_binary(m, &x->interp, false, window_end);
    if (rc)
        return rc;
    x->mm->brk_start = x->mm->brk = x->program.bias + x->program.elf.high;
    x->entry = x->interp.file ? x->interp.bias + x->interp.elf.entry
                              : x->program.bias + x->program.elf.entry;
    int64_t vdso = mem_map(m, 0, LX_VDSO_BYTES, MEM_R | MEM_X, 0, lx->vdso, 0, "[vdso]");
    if (vdso < 0)
        return (int)vdso;
    x->mm->vdso = (gva_t)vdso;
    return fill_stack(lx, x);
}

int lx_load_program(struct lx *lx, struct lx_exec *x, struct err *err)
{
    x->mm = lx_mm_new(lx);
    int rc = x->mm ? build(lx, x) : -ENOMEM;
    if (!rc)
        return 0;
    err_set(err, rc == -ENOMEM ? ERR_NO_MEMORY : ERR_BAD_ELF, "cannot be mapped: %s",
            strerror(-rc));
    lx_mm_put(lx, x->mm);
    x->mm = NULL;
    return rc;
}
