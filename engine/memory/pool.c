/* memory/pool.c - the process's part (windows, pagemap), the pool, the host calls. */
#include "engine/memory/internal.h"

#include "engine/base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOWS_KEPT 64

/* ---- the process ---- */

static struct {
    pthread_mutex_t lock;
    int pagemap_fd;
    _Atomic uint64_t unique;
    struct {
        uint8_t *window;
        uint32_t bits;
    } kept[WINDOWS_KEPT]; /* what is over is given back to the host */
    size_t kept_count;
} process = {.lock = PTHREAD_MUTEX_INITIALIZER, .pagemap_fd = -1};

res_code_t mem_process_init(struct err *err)
{
    res_code_t rc = OK;
    pthread_mutex_lock(&process.lock);
    if (process.pagemap_fd < 0) {
        process.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (process.pagemap_fd < 0)
            rc = err_set_os(err, "/proc/self/pagemap");
    }
    pthread_mutex_unlock(&process.lock);
    return rc;
}

uint64_t mem_unique(void)
{
    return atomic_fetch_add_explicit(&process.unique, 1, memory_order_relaxed) + 1;
}

bool mem_window_take(uint32_t bits, uint8_t **window)
{
    pthread_mutex_lock(&process.lock);
    for (size_t i = process.kept_count; i-- > 0;) {
        if (process.kept[i].bits == bits) {
            *window = process.kept[i].window;
            process.kept[i] = process.kept[--process.kept_count];
            pthread_mutex_unlock(&process.lock);
            return true;
        }
    }
    pthread_mutex_unlock(&process.lock);
    size_t bytes = ((size_t)1 << bits) + 2 * WINDOW_GUARD;
    uint8_t *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    *window = p + WINDOW_GUARD;
    return true;
}

/* One mapping again: host mappings that were written once do not merge with their neighbours by themselves. */
static bool window_reset(uint32_t bits, uint8_t *window)
{
    size_t bytes = ((size_t)1 << bits) + 2 * WINDOW_GUARD;
    return mmap(window - WINDOW_GUARD, bytes, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

void mem_window_give(uint32_t bits, uint8_t *window)
{
    bool clean = window_reset(bits, window);
    pthread_mutex_lock(&process.lock);
    bool keep = clean && process.kept_count < WINDOWS_KEPT;
    if (keep) {
        process.kept[process.kept_count].window = window;
        process.kept[process.kept_count++].bits = bits;
    }
    pthread_mutex_unlock(&process.lock);
    if (!keep)
        munmap(window - WINDOW_GUARD, ((size_t)1 << bits) + 2 * WINDOW_GUARD);
}

/* ---- host calls ---- */

void mem_host_protect(struct mem_space *s, gva_t lo, gva_t hi, int prot)
{
    for (; lo < hi; lo += MIN(PIECE, hi - lo)) {
        s->pool->stats.host_mprotects++;
        int rc = mprotect(host_of(s, lo), MIN(PIECE, hi - lo), prot);
        /* Rule (4) leaves the host room to take a right away. A host that does not overcommit may refuse to give the right
         * to write; then the guest's store finds it missing and gets SIGBUS. */
        ASSERT(rc == 0 || (prot & PROT_WRITE));
    }
}

void mem_host_reserve(struct mem_space *s, gva_t lo, gva_t hi, bool pages)
{
    uint64_t piece = pages ? PIECE : hi - lo;
    for (; lo < hi; lo += MIN(piece, hi - lo)) {
        s->pool->stats.host_mmaps++;
        void *p = mmap(host_of(s, lo), MIN(piece, hi - lo), PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        ASSERT(p != MAP_FAILED);
    }
}

void mem_host_drop(struct mem_space *s, gva_t lo, gva_t hi)
{
    for (; lo < hi; lo += MIN(PIECE, hi - lo)) {
        s->pool->stats.host_drops++;
        madvise(host_of(s, lo), MIN(PIECE, hi - lo), MADV_DONTNEED);
    }
}

/* Documentation/admin-guide/mm/pagemap.rst: 63 present, 62 swapped, 61 of a file or shared. */
#define PM_THERE (UINT64_C(3) << 62)
#define PM_FILE (UINT64_C(1) << 61)

void mem_private_pages(const struct mem_space *s, gva_t a, size_t n, uint64_t out[PAGEMAP_RUN / 64])
{
    uint64_t entry[PAGEMAP_RUN];
    off_t at = (off_t)((uintptr_t)host_of(s, a) >> PAGE_BITS) * 8;
    ASSERT(n <= PAGEMAP_RUN);
    ssize_t got = pread(process.pagemap_fd, entry, n * 8, at);
    ASSERT(got == (ssize_t)(n * 8));
    memset(out, 0, PAGEMAP_RUN / 8);
    for (size_t i = 0; i < n; i++) {
        if ((entry[i] & PM_THERE) && !(entry[i] & PM_FILE))
            out[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

bool mem_each_private_run(const struct mem_space *s, gva_t lo, gva_t hi, mem_run_fn *f, void *ctx)
{
    gva_t run = lo;
    uint64_t bits[PAGEMAP_RUN / 64];
    bool in_run = false;
    for (gva_t a = lo; a < hi;) {
        size_t n = MIN((hi - a) >> PAGE_BITS, (uint64_t)PAGEMAP_RUN);
        mem_private_pages(s, a, n, bits);
        for (size_t i = 0; i < n; i++, a += PAGE_SIZE) {
            if (!in_run && !(i % 64) && !bits[i / 64] &&
                i + 64 <= n) { /* 64 absent pages at once */
                i += 63;
                a += 63 * PAGE_SIZE;
                continue;
            }
            bool here = bits[i / 64] >> (i % 64) & 1;
            if (here && !in_run)
                run = a;
            else if (!here && in_run && !f(ctx, run, a))
                return false;
            in_run = here;
        }
        if (in_run && a - run >= PIECE) {
            if (!f(ctx, run, a))
                return false;
            in_run = false;
        }
    }
    return !in_run || f(ctx, run, hi);
}

/* ---- the pool ---- */

static void lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

res_code_t mem_pool_new(const struct mem_pool_config *c, struct mem_pool **out, struct err *err)
{
    struct mem_pool_config config = *c;
    if (!config.commit_bytes)
        config.commit_bytes = (uint64_t)512 << 20;
    if (!config.maps)
        config.maps = 16384;
    if (!config.window_bits)
        config.window_bits = 36;
    if (config.window_bits < 32 || config.window_bits > 38)
        return err_set(err, ERR_INVALID, "window of 2^%u bytes: 32 to 38 bits can be had",
                       config.window_bits);
    if (mem_process_init(err) != OK)
        return FAIL;
    struct mem_pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "guest memory pool");
    p->fd = memfd_create("vv-objects", MFD_CLOEXEC);
    /* As long as a file can be: its blocks are there only where something was written. */
    if (p->fd < 0 || ftruncate(p->fd, INT64_MAX & -(int64_t)PAGE_SIZE) < 0) {
        res_code_t rc = err_set_os(err, "memfd for guest memory");
        if (p->fd >= 0)
            close(p->fd);
        free(p);
        return rc;
    }
    uint64_t seed;
    os_random(&seed, sizeof seed);
    rng_seed(&p->rng, seed);
    p->config = config;
    lock_init(&p->lock);
    *out = p;
    return OK;
}

void mem_pool_free(struct mem_pool *p)
{
    if (!p)
        return;
    ASSERT(!p->spaces && !p->objects);
    ASSERT(!p->host_maps && !atomic_load(&p->committed));
    close(p->fd);
    pthread_mutex_destroy(&p->lock);
    free(p->slots_free);
    free(p);
}

uint64_t mem_pool_committed_bytes(struct mem_pool *p)
{
    return atomic_load_explicit(&p->committed, memory_order_relaxed);
}

uint64_t mem_pool_object_bytes(struct mem_pool *p)
{
    struct stat st;
    return os_fstat(p->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

void mem_pool_stats(struct mem_pool *p, struct mem_stats *out)
{
    pool_lock(p);
    *out = p->stats;
    out->host_maps = p->host_maps;
    pool_unlock(p);
}
