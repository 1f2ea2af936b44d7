/*
 * memory/access.c - the only C code that dereferences a window (DESIGN 6, D3 class b).
 *
 * Every instruction here that touches guest memory has an entry {it, where to go on} in the section mem_fixups;
 * the signal handler asks mem_fixup() and goes on there. Offsets are relative, so that the table needs no relocation.
 * No access is made between two accesses of an accessor, so that what was not done can be begun again.
 */
#include "engine/memory/internal.h"

#include <errno.h>
#include <string.h>

struct fixup {
    int32_t at, to; /* relative to themselves */
};
extern const struct fixup __start_mem_fixups[], __stop_mem_fixups[];

#define FIXUP(at, to) \
    ".pushsection mem_fixups,\"a\"\n.balign 4\n.long " at " - .\n.long " to " - .\n.popsection\n"

uint64_t mem_fixup(uint64_t rip)
{
    for (const struct fixup *f = __start_mem_fixups; f < __stop_mem_fixups; f++) {
        if ((uint64_t)(uintptr_t)&f->at + (uint64_t)(int64_t)f->at == rip)
            return (uint64_t)(uintptr_t)&f->to + (uint64_t)(int64_t)f->to;
    }
    return 0;
}

/* After a fault: true, try again; or the trap is filled in. */
static bool __attribute__((noinline, cold)) again(struct vcpu *v, gva_t a, unsigned n, bool write)
{
    for (gva_t at = a;; at = ALIGN_UP(a + 1, PAGE_SIZE)) {
        enum mem_fault f = mem_fault(v->space, at, write);
        if (f != MEM_FAULT_RETRY) {
            v->trap = (struct cpu_trap){
                .kind = f == MEM_FAULT_BUS ? CPU_TRAP_BUS : CPU_TRAP_PAGE,
                .access = write ? CPU_STORE : CPU_LOAD,
                .addr = at,
            };
            return false;
        }
        if (at != a || (a & (PAGE_SIZE - 1)) + n <= PAGE_SIZE)
            return true;
    }
}

/* The quick way of each accessor needs no stack: what goes wrong is left to a function of its own, in the tail. */
/* clang-format off */
#define COLD static bool __attribute__((noinline, cold))

#define LOAD(bits, insn, reg, ctype)                                                               \
    COLD ld##bits##_again(struct vcpu *v, gva_t a, uint##bits##_t *out)                            \
    {                                                                                              \
        return again(v, a, bits / 8, false) && mem_ld##bits(v, a, out);                            \
    }                                                                                              \
    bool mem_ld##bits(struct vcpu *v, gva_t a, uint##bits##_t *out)                                \
    {                                                                                              \
        ctype x;                                                                                   \
        __asm__ goto("1: " insn " (%[w],%[a]), %" reg "[x]\n" FIXUP("1b", "%l[fault]")             \
                     : [x] "=r"(x) : [w] "r"(v->window), [a] "r"(a) : "memory" : fault);           \
        *out = (uint##bits##_t)x;                                                                  \
        return true;                                                                               \
    fault:                                                                                         \
        return ld##bits##_again(v, a, out);                                                        \
    }
LOAD(8, "movzbl", "k", uint32_t)
LOAD(16, "movzwl", "k", uint32_t)
LOAD(32, "movl", "k", uint32_t)
LOAD(64, "movq", "q", uint64_t)

/* A store whose second page cannot be written must not write the first: both pages are asked before. */
#define STORE(bits, insn, reg, constraint)                                                         \
    static bool put##bits(uint8_t *window, gva_t a, uint##bits##_t x)                              \
    {                                                                                              \
        __asm__ goto("1: " insn " %" reg "[x], (%[w],%[a])\n" FIXUP("1b", "%l[fault]")             \
                     : : [x] constraint(x), [w] "r"(window), [a] "r"(a) : "memory" : fault);       \
        return true;                                                                               \
    fault:                                                                                         \
        return false;                                                                              \
    }                                                                                              \
    COLD st##bits##_again(struct vcpu *v, gva_t a, uint##bits##_t x)                               \
    {                                                                                              \
        do {                                                                                       \
            if (writable(v->window, a, bits / 8) && put##bits(v->window, a, x))                    \
                return true;                                                                       \
        } while (again(v, a, bits / 8, true));                                                     \
        return false;                                                                              \
    }                                                                                              \
    bool mem_st##bits(struct vcpu *v, gva_t a, uint##bits##_t x)                                   \
    {                                                                                              \
        if (likely((a & (PAGE_SIZE - 1)) <= PAGE_SIZE - bits / 8) && put##bits(v->window, a, x))   \
            return true;                                                                           \
        return st##bits##_again(v, a, x);                                                          \
    }
/* a may lie in front of the window by what an immediate is, hence no sum of pointers. */
static bool writable(const uint8_t *window, gva_t a, size_t n)
{
    uintptr_t p = (uintptr_t)window + a;
    return mem_probe((void *)p, true) && mem_probe((void *)(p + n - 1), true);
}
STORE(8, "movb", "b", "q")
STORE(16, "movw", "w", "r")
STORE(32, "movl", "k", "r")
STORE(64, "movq", "q", "r")

#define CAS(bits, insn, reg)                                                                       \
    COLD cas##bits##_again(struct vcpu *v, gva_t a, uint##bits##_t expected,                       \
                           uint##bits##_t desired, uint##bits##_t *old)                            \
    {                                                                                              \
        return again(v, a, bits / 8, true) && mem_cas##bits(v, a, expected, desired, old);         \
    }                                                                                              \
    bool mem_cas##bits(struct vcpu *v, gva_t a, uint##bits##_t expected, uint##bits##_t desired,   \
                       uint##bits##_t *old)                                                        \
    {                                                                                              \
        uint##bits##_t x;                                                                          \
        __asm__ goto("1: lock " insn " %" reg "[d], (%[w],%[at])\n" FIXUP("1b", "%l[fault]")       \
                     : "=a"(x)                                                                     \
                     : "a"(expected), [d] "r"(desired), [w] "r"(v->window), [at] "r"(a)            \
                     : "memory", "cc" : fault);                                                    \
        *old = x;                                                                                  \
        return true;                                                                               \
    fault:                                                                                         \
        return cas##bits##_again(v, a, expected, desired, old);                                    \
    }
CAS(32, "cmpxchgl", "k")
CAS(64, "cmpxchgq", "q")
/* clang-format on */

bool mem_probe(const void *host, bool write)
{
    if (write) {
        __asm__ goto("1: lock orb $0, (%0)\n" FIXUP("1b", "%l[fault]")
                     :
                     : "r"(host)
                     : "memory", "cc"
                     : fault);
    } else {
        __asm__ goto("1: testb $0, (%0)\n" FIXUP("1b", "%l[fault]")
                     :
                     : "r"(host)
                     : "memory", "cc"
                     : fault);
    }
    return true;
fault:
    return false;
}

size_t mem_try_copy(void *to, const void *from, size_t n)
{
    size_t left = n;
    __asm__ volatile("1: rep movsb\n2:\n" FIXUP("1b", "2b")
                     : "+D"(to), "+S"(from), "+c"(left)
                     :
                     : "memory");
    return n - left;
}

void mem_raw_copy(void *to, const void *from, size_t n)
{
    size_t done = mem_try_copy(to, from, n);
    ASSERT(done == n);
}

__attribute__((no_sanitize("address", "thread"))) bool mem_raw_is_zero(const void *p)
{
    const uint64_t *w = p;
    for (size_t i = 0; i < PAGE_SIZE / 8; i += 4) {
        if (w[i] | w[i + 1] | w[i + 2] | w[i + 3])
            return false;
    }
    return true;
}

/* ---- fetch ---- */

/* Two bytes at pc; false with the trap. Remembers the page. */
static bool fetch_parcel(struct vcpu *v, gva_t pc, uint16_t *out)
{
    struct mem_space *s = v->space;
    for (;;) {
        uint64_t gen = atomic_load_explicit(&s->exec_gen, memory_order_acquire);
        uint64_t page = pc >> PAGE_BITS, k = page % CPU_FETCHED_PAGES;
        if (v->fetched[k].page != page || v->fetched[k].gen != gen) {
            enum mem_fault f = pc < s->bytes ? mem_fetch_fault(s, pc) : MEM_FAULT_PAGE;
            if (f != MEM_FAULT_RETRY) {
                v->trap =
                    (struct cpu_trap){.kind = f == MEM_FAULT_BUS ? CPU_TRAP_BUS : CPU_TRAP_PAGE,
                                      .access = CPU_FETCH,
                                      .addr = pc};
                return false;
            }
            v->fetched[k].page = page;
            v->fetched[k].gen = gen;
        }
        v->fetch_page = page;
        v->fetch_gen = gen;
        if (mem_try_copy(out, v->window + pc, 2) == 2)
            return true;
        v->fetched[k].gen = 0; /* gone from the host's view: ask */
    }
}

static bool __attribute__((noinline)) fetch_slow(struct vcpu *v, gva_t pc, uint32_t *word)
{
    uint16_t low, high = 0;
    if (!fetch_parcel(v, pc, &low) || ((low & 3) == 3 && !fetch_parcel(v, pc + 2, &high)))
        return false;
    *word = (uint32_t)high << 16 | low;
    return true;
}

bool mem_fetch(struct vcpu *v, gva_t pc, uint32_t *word)
{
    uint32_t x;
    if (unlikely(pc >> PAGE_BITS != v->fetch_page || (pc & (PAGE_SIZE - 1)) > PAGE_SIZE - 4 ||
                 v->fetch_gen != atomic_load_explicit(&v->space->exec_gen, memory_order_relaxed)))
        return fetch_slow(v, pc, word);
    __asm__ goto("1: movl (%[w],%[a]), %k[x]\n" FIXUP("1b", "%l[fault]")
                 : [x] "=r"(x)
                 : [w] "r"(v->window), [a] "r"(pc)
                 : "memory"
                 : fault);
    *word = (x & 3) == 3 ? x : (uint16_t)x;
    return true;
fault:
    return fetch_slow(v, pc, word);
}

/* ---- copies ---- */

static size_t copy_some(struct mem_space *s, void *p, gva_t a, size_t n, bool out)
{
    size_t done = 0, last = SIZE_MAX;
    for (unsigned stuck = 0; done < n; last = done) {
        gva_t at = a + done;
        if (at >= s->bytes || at < a)
            break;
        stuck = done == last ? stuck + 1 : 0;
        ASSERT(stuck < 100000); /* then it is our buffer that is not there */
        size_t k = MIN(n - done, s->bytes - at);
        if (out)
            done += mem_try_copy(host_of(s, at), (char *)p + done, k);
        else
            done += mem_try_copy((char *)p + done, host_of(s, at), k);
        if (done < n && (a + done >= s->bytes || mem_fault(s, a + done, out) != MEM_FAULT_RETRY))
            break;
    }
    return done;
}

size_t mem_copy_in_some(struct mem_space *s, void *p, gva_t a, size_t n)
{
    return copy_some(s, p, a, n, false);
}

size_t mem_copy_out_some(struct mem_space *s, gva_t a, const void *p, size_t n)
{
    return copy_some(s, (void *)(uintptr_t)p, a, n, true);
}

bool mem_copy_in(struct mem_space *s, void *p, gva_t a, size_t n)
{
    return copy_some(s, p, a, n, false) == n;
}

bool mem_copy_out(struct mem_space *s, gva_t a, const void *p, size_t n)
{
    return copy_some(s, (void *)(uintptr_t)p, a, n, true) == n;
}

int64_t mem_copy_str(struct mem_space *s, char *p, gva_t a, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t k = MIN(n - done, PAGE_SIZE - ((a + done) & (PAGE_SIZE - 1)));
        k = MIN(k, (size_t)256); /* most strings are short */
        size_t got = copy_some(s, p + done, a + done, k, false);
        char *nul = memchr(p + done, 0, got);
        if (nul)
            return nul - p;
        if (got < k)
            return -EFAULT;
        done += got;
    }
    return -ENAMETOOLONG;
}

size_t mem_read_watched(struct mem_space *s, gva_t pc, void *p, size_t n)
{
    return mem_try_copy(p, host_of(s, pc), n);
}

size_t mem_read_code(struct mem_space *s, gva_t pc, void *p, size_t n)
{
    size_t done = 0;
    while (done < n && pc + done < s->bytes && mem_fetch_fault(s, pc + done) == MEM_FAULT_RETRY) {
        size_t k = MIN(n - done, PAGE_SIZE - ((pc + done) & (PAGE_SIZE - 1)));
        size_t got = mem_try_copy((char *)p + done, host_of(s, pc + done), k);
        done += got;
        if (got < k) /* unmapped meanwhile */
            break;
    }
    return done;
}
