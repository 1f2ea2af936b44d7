/* memory/object.c - what can be mapped: files of the image, and files and shared memory in the pool's memfd. */
#include "engine/memory/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct mem_object *object_new(struct mem_pool *p)
{
    struct mem_object *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->pool = p;
    atomic_init(&o->refs, 1);
    list_init(&o->maps);
    return o;
}

res_code_t mem_object_image(struct mem_pool *p, int fd, uint64_t offset, uint64_t size,
                            uint64_t key, struct mem_object **out, struct err *err)
{
    if (offset % PAGE_SIZE || size > INT64_MAX - PAGE_SIZE || offset > INT64_MAX - PAGE_SIZE - size)
        return err_set(err, ERR_BAD_IMAGE, "file content at %llu, %llu bytes: cannot be mapped",
                       (unsigned long long)offset, (unsigned long long)size);
    struct mem_object *o = object_new(p);
    if (!o)
        return err_set(err, ERR_NO_MEMORY, "memory object");
    o->image = true;
    o->fd = fd;
    o->base = offset;
    o->size = size;
    o->capacity = ALIGN_UP(size, PAGE_SIZE);
    o->id = key;
    pool_lock(p);
    p->objects++;
    pool_unlock(p);
    *out = o;
    return OK;
}

res_code_t mem_object_memory(struct mem_pool *p, uint64_t size, struct mem_object **out,
                             struct err *err)
{
    if (size > OBJECT_BYTES)
        return err_set(err, ERR_LIMIT, "a file of %llu bytes: at most 2^%d",
                       (unsigned long long)size, OBJECT_BITS);
    struct mem_object *o = object_new(p);
    if (!o)
        return err_set(err, ERR_NO_MEMORY, "memory object");
    o->fd = p->fd;
    o->size = size;
    o->capacity = OBJECT_BYTES;
    o->id = mem_unique();
    pool_lock(p);
    uint64_t slot = p->slots_free_count ? p->slots_free[--p->slots_free_count] : p->slot_next++;
    p->objects++;
    pool_unlock(p);
    ASSERT(slot < INT64_MAX >> OBJECT_BITS);
    o->base = slot << OBJECT_BITS;
    *out = o;
    return OK;
}

struct mem_object *mem_object_get(struct mem_object *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

bool mem_object_shared(struct mem_object *o)
{
    return atomic_load_explicit(&o->refs, memory_order_acquire) > 1;
}

static bool punch(struct mem_object *o, uint64_t from, uint64_t to)
{
    return from >= to || fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   (off_t)(o->base + from), (off_t)(to - from)) == 0;
}

void mem_object_put_locked(struct mem_object *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct mem_pool *p = o->pool;
    ASSERT(list_empty(&o->maps));
    if (!o->image) {
        /* A shared map may have written beyond the size, inside the last page. A slot that cannot be emptied, or not be
         * remembered, is not used again. */
        bool empty = punch(o, 0, MIN(ALIGN_UP(o->size, PAGE_SIZE) + PAGE_SIZE, OBJECT_BYTES));
        if (empty && p->slots_free_count == p->slots_free_cap) {
            size_t cap = MAX(p->slots_free_cap * 2, (size_t)16);
            uint64_t *more = realloc(p->slots_free, cap * sizeof *more);
            empty = more;
            if (more) {
                p->slots_free = more;
                p->slots_free_cap = cap;
            }
        }
        if (empty)
            p->slots_free[p->slots_free_count++] = o->base >> OBJECT_BITS;
    }
    atomic_fetch_sub_explicit(&p->committed, o->charged, memory_order_relaxed);
    p->host_maps -= o->cost;
    p->objects--;
    mem_pages_fini(&o->watched);
    free(o);
}

void mem_object_put(struct mem_object *o)
{
    if (!o)
        return;
    struct mem_pool *p = o->pool;
    pool_lock(p);
    mem_object_put_locked(o);
    pool_unlock(p);
}

uint64_t mem_object_size(struct mem_object *o)
{
    pool_lock(o->pool);
    uint64_t size = o->size;
    pool_unlock(o->pool);
    return size;
}

uint64_t mem_object_end_page(const struct mem_object *o)
{
    return ALIGN_UP(o->size, PAGE_SIZE) >> PAGE_BITS;
}

void mem_object_recost_locked(struct mem_object *o)
{
    uint64_t cost = COST_SPLIT * o->watched.len * o->shared_maps;
    o->pool->host_maps += cost - o->cost;
    o->cost = cost;
}

bool mem_object_charge_locked(struct mem_object *o, uint64_t end)
{
    struct mem_pool *p = o->pool;
    end = MIN(end, ALIGN_UP(o->size, PAGE_SIZE));
    if (end <= o->charged)
        return true;
    uint64_t more = end - o->charged;
    if (more > p->config.commit_bytes || atomic_load(&p->committed) > p->config.commit_bytes - more)
        return false;
    atomic_fetch_add_explicit(&p->committed, more, memory_order_relaxed);
    o->charged = end;
    return true;
}

static uint64_t held_in(struct mem_object *o, uint64_t lo, uint64_t hi)
{
    uint64_t held = 0;
    while (lo < hi) {
        off_t data = lseek(o->fd, (off_t)(o->base + lo), SEEK_DATA);
        if (data < 0 || (uint64_t)data >= o->base + hi)
            break;
        off_t hole = lseek(o->fd, data, SEEK_HOLE);
        uint64_t end = hole < 0 ? o->base + hi : MIN((uint64_t)hole, o->base + hi);
        held += end - (uint64_t)data;
        lo = end - o->base;
    }
    return held;
}

uint64_t mem_object_held_bytes(struct mem_object *o)
{
    if (o->image)
        return 0;
    pool_lock(o->pool); /* for the size */
    uint64_t held = held_in(o, 0, ALIGN_UP(o->size, PAGE_SIZE));
    pool_unlock(o->pool);
    return held;
}

int64_t mem_object_read(struct mem_object *o, uint64_t off, void *p, size_t n)
{
    uint64_t size = mem_object_size(o);
    if (off >= size)
        return 0;
    n = MIN(n, size - off);
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(o->fd, (char *)p + done, n - done, (off_t)(o->base + off + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return done ? (int64_t)done : -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

/* Maps of o that show pages from `first` to before `last` get the protections that its size now asks for. */
static void apply_to_maps(struct mem_object *o, uint64_t first, uint64_t last, bool drop)
{
    list_for_each(at, &o->maps)
    {
        struct map *m = list_entry(at, struct map, in_object);
        uint64_t m_first = m->offset >> PAGE_BITS,
                 m_last = m_first + ((m->end - m->start) >> PAGE_BITS);
        uint64_t lo = MAX(first, m_first), hi = MIN(last, m_last);
        if (lo >= hi)
            continue;
        gva_t a = m->start + ((lo - m_first) << PAGE_BITS),
              b = m->start + ((hi - m_first) << PAGE_BITS);
        if (drop && m->wrote)
            mem_host_drop(m->space, a, b);
        mem_apply_locked(m->space, a, b);
    }
}

static int resize_locked(struct mem_object *o, uint64_t size)
{
    if (o->image)
        return -EROFS;
    if (size > OBJECT_BYTES)
        return -EFBIG;
    uint64_t old = o->size, old_end = mem_object_end_page(o);
    if (size < old) {
        mem_will_write_locked(o, size, old - size);
        o->size = size;
        apply_to_maps(o, mem_object_end_page(o), old_end, true);
        if (!punch(o, size, old_end << PAGE_BITS)) {
            o->size = old;
            apply_to_maps(o, size >> PAGE_BITS, old_end, false);
            return -ENOSPC;
        }
        uint64_t end = mem_object_end_page(o) << PAGE_BITS;
        if (o->charged > end) {
            atomic_fetch_sub_explicit(&o->pool->committed, o->charged - end, memory_order_relaxed);
            o->charged = end;
        }
        return 0;
    }
    o->size = size;
    uint64_t writable_end = 0;
    list_for_each(at, &o->maps)
    {
        struct map *m = list_entry(at, struct map, in_object);
        if ((m->flags & MEM_SHARED) && (m->prot & MEM_W))
            writable_end = MAX(writable_end, m->offset + (m->end - m->start));
    }
    if (writable_end && !mem_object_charge_locked(o, writable_end)) {
        o->size = old;
        return -ENOSPC;
    }
    apply_to_maps(o, old_end, mem_object_end_page(o), false);
    return 0;
}

int mem_object_resize(struct mem_object *o, uint64_t size)
{
    pool_lock(o->pool);
    int rc = resize_locked(o, size);
    pool_unlock(o->pool);
    return rc;
}

/* Is there room for the holes among [off, off + n)? */
static bool room(struct mem_object *o, uint64_t off, uint64_t n)
{
    struct mem_pool *p = o->pool;
    if (!p->config.object_bytes)
        return true;
    uint64_t lo = ALIGN_DOWN(off, PAGE_SIZE), hi = ALIGN_UP(off + n, PAGE_SIZE);
    uint64_t have = mem_pool_object_bytes(p), limit = p->config.object_bytes;
    if (have + (hi - lo) <= limit)
        return true;
    return have + (hi - lo) - held_in(o, lo, hi) <= limit;
}

static int64_t write_locked(struct mem_object *o, uint64_t off, const void *p, size_t n)
{
    uint64_t old = o->size;
    if (off >= OBJECT_BYTES || n > OBJECT_BYTES - off)
        return -EFBIG;
    if (!room(o, off, n))
        return -ENOSPC;
    if (off + n > old) {
        int rc = resize_locked(o, off + n);
        if (rc < 0)
            return rc;
    }
    mem_will_write_locked(o, off, n);
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(o->fd, (const char *)p + done, n - done, (off_t)(o->base + off + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            int e = k < 0 ? errno : ENOSPC;
            if (off + done < o->size && o->size > old)
                (void)resize_locked(o, MAX(old, off + done));
            return done ? (int64_t)done : -e;
        }
        done += (size_t)k;
    }
    return (int64_t)n;
}

int64_t mem_object_write(struct mem_object *o, uint64_t off, const void *p, size_t n)
{
    if (o->image)
        return -EROFS;
    size_t done = 0;
    int64_t k = 0;
    while (done < n) { /* others get the lock between two pieces */
        size_t piece = MIN(n - done, (size_t)1 << 20);
        pool_lock(o->pool);
        k = write_locked(o, off + done, (const char *)p + done, piece);
        pool_unlock(o->pool);
        if (k < 0)
            break;
        done += (size_t)k;
        if ((size_t)k < piece)
            break;
    }
    return done || !n ? (int64_t)done : k;
}

int64_t mem_object_seek(struct mem_object *o, uint64_t off, bool hole)
{
    pool_lock(o->pool);
    int64_t at = -ENXIO;
    if (off < o->size) {
        if (o->image) {
            at = (int64_t)(hole ? o->size : off);
        } else {
            off_t r = lseek(o->fd, (off_t)(o->base + off), hole ? SEEK_HOLE : SEEK_DATA);
            uint64_t found = r < 0 ? UINT64_MAX : (uint64_t)r - o->base;
            if (found < o->size)
                at = (int64_t)found;
            else if (hole)
                at = (int64_t)o->size;
        }
    }
    pool_unlock(o->pool);
    return at;
}

void mem_object_set_snap_id(struct mem_object *o, uint64_t id)
{
    o->snap_id = id;
}
