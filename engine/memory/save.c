/*
 * memory/save.c - spaces and objects in a snapshot.
 *
 * Space: {window bits, count, maps}, a map {start, end, prot, flags, wrote, object id or 0, offset, name, runs of private
 * pages}; a run {start, bytes, place in the page file}, or the bytes themselves without a page file; 0 ends the runs.
 * Translations do not survive, so neither does the watch.
 */
#include "engine/memory/internal.h"
#include "engine/snapshot/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPACE_TAG SNAP_TAG('M', 'S', 'P', 'C')
#define OBJECT_TAG SNAP_TAG('M', 'O', 'B', 'J')
#define VERSION 1
#define FLAGS_KEPT (MEM_SHARED | MEM_GROWSDOWN | MEM_NORESERVE | MEM_STACK | MEM_NOWRITE)

/* ---- runs ---- */

struct saving {
    struct snap_writer *w;
    struct mem_space *space;
    bool unreadable;
    res_code_t rc;
    struct err *err;
};

static bool put_run(void *ctx, gva_t lo, gva_t hi)
{
    struct saving *c = ctx;
    size_t n = hi - lo;
    snap_put_u64(c->w, lo);
    snap_put_u64(c->w, n);
    if (c->unreadable)
        mem_host_protect(c->space, lo, hi, PROT_READ);
    if (c->w->page_fd >= 0) {
        uint64_t at = 0;
        c->rc = snap_put_pages(c->w, host_of(c->space, lo), n, &at, c->err);
        snap_put_u64(c->w, at);
    } else {
        snap_put_bytes(c->w, host_of(c->space, lo), n);
    }
    if (c->unreadable)
        mem_host_protect(c->space, lo, hi, PROT_NONE);
    return c->rc == OK;
}

static res_code_t get_run(struct snap_reader *r, void *p, size_t n, struct err *err)
{
    if (r->page_fd >= 0)
        return snap_get_pages(r, snap_get_u64(r), p, n, err);
    size_t got = 0;
    const void *bytes = snap_get_bytes(r, n, &got);
    if (bytes && got == n)
        memcpy(p, bytes, n);
    else
        snap_refuse(r, "a run of pages of %zu bytes where %zu are due", got, n);
    return snap_check(r, err);
}

/* ---- spaces ---- */

static res_code_t save_map(const struct map *m, struct snap_writer *w, struct err *err)
{
    if (m->object && !m->object->snap_id)
        return err_set(err, ERR_STATE,
                       "the map at 0x%llx shows an object without a name in the snapshot",
                       (unsigned long long)m->start);
    snap_put_u64(w, m->start);
    snap_put_u64(w, m->end);
    snap_put_u64(w, (uint64_t)m->prot);
    snap_put_u64(w, (uint64_t)m->flags);
    snap_put_u64(w, m->wrote);
    snap_put_u64(w, m->object ? m->object->snap_id : 0);
    snap_put_u64(w, m->offset);
    snap_put_str(w, m->name ? m->name->text : NULL);
    struct saving c = {.w = w, .space = m->space, .unreadable = !m->prot, .err = err};
    gva_t end = m->end;
    if (m->object)
        end = MIN(end, m->start + MAX(mem_object_end_page(m->object) << PAGE_BITS, m->offset) -
                           m->offset);
    if (m->wrote && end > m->start)
        mem_each_private_run(m->space, m->start, end, put_run, &c);
    snap_put_u64(w, 0);
    return c.rc;
}

res_code_t mem_space_save(struct mem_space *s, struct snap_writer *w, struct err *err)
{
    res_code_t rc = OK;
    pool_lock(s->pool);
    snap_begin(w, SPACE_TAG, VERSION);
    snap_put_u32(w, s->pool->config.window_bits);
    snap_put_u64(w, s->count);
    for (struct map *m = mem_tree_find(s, 0); m && rc == OK; m = mem_tree_find(s, m->end))
        rc = save_map(m, w, err);
    snap_end(w);
    pool_unlock(s->pool);
    return rc;
}

struct loading {
    struct mem_space *space;
    struct snap_reader *r;
    struct mem_object *(*object_by_id)(void *ctx, uint64_t id);
    void *ctx;
    gva_t at; /* end of the map before */
};

static res_code_t load_runs(struct loading *c, const struct map *m, struct err *err)
{
    struct snap_reader *r = c->r;
    gva_t at = m->start, end = m->end;
    if (m->object)
        end = MIN(end, m->start + MAX(mem_object_end_page(m->object) << PAGE_BITS, m->offset) -
                           m->offset);
    for (;;) {
        gva_t lo = snap_get_u64(r);
        if (r->failed || !lo)
            return snap_check(r, err);
        uint64_t n = snap_get_u64(r);
        if (!m->wrote || lo < at || lo % PAGE_SIZE || lo > end || n > end - lo || n % PAGE_SIZE ||
            !n) {
            snap_refuse(r, "pages at 0x%llx do not fit their map", (unsigned long long)lo);
            return snap_check(r, err);
        }
        if (get_run(r, host_of(c->space, lo), n, err) != OK)
            return FAIL;
        at = lo + n;
    }
}

static res_code_t load_map(struct loading *c, struct err *err)
{
    struct mem_space *s = c->space;
    struct mem_pool *p = s->pool;
    struct snap_reader *r = c->r;
    gva_t lo = snap_get_u64(r), hi = snap_get_u64(r);
    int prot = (int)snap_get_max(r, MEM_R | MEM_W | MEM_X, "protection");
    int flags = (int)snap_get_max(r, FLAGS_KEPT, "flags of a map");
    bool wrote = snap_get_max(r, 1, "flag") != 0;
    uint64_t id = snap_get_u64(r), offset = snap_get_u64(r);
    CLEANUP(free_ptr) char *text = snap_get_str(r, 4096);
    struct mem_object *o = id && !r->failed ? c->object_by_id(c->ctx, id) : NULL;
    bool shared = flags & MEM_SHARED;
    if (flags & MEM_STACK) {
        s->stack_bytes += hi - lo;
        if (s->stack_bytes > STACK_MAX || hi - lo > STACK_MAX)
            snap_refuse(r, "stacks of more than %llu bytes", (unsigned long long)STACK_MAX);
    }
    if (lo < c->at || hi <= lo || (lo | hi | offset) % PAGE_SIZE || !mem_range_ok(s, lo, hi - lo) ||
        offset > INT64_MAX - (hi - lo) || (flags & ~FLAGS_KEPT) || (shared && wrote))
        snap_refuse(r, "the map at 0x%llx is out of its place", (unsigned long long)lo);
    else if ((id || shared) && !o)
        snap_refuse(r, "the map at 0x%llx shows object %llu, which is not there",
                    (unsigned long long)lo, (unsigned long long)id);
    else if (o && o->image && shared && (prot & MEM_W))
        snap_refuse(r, "the map at 0x%llx would write the image", (unsigned long long)lo);
    if (r->failed)
        return snap_check(r, err);
    struct mem_name *name = mem_name_new(text);
    struct map *m = mem_map_record(s, lo, hi, prot, flags, o, offset, name);
    mem_name_put(name);
    if (!m)
        return err_set(err, ERR_NO_MEMORY, "map of a snapshot");
    m->wrote |= wrote;
    if (!mem_budget_for(p, mem_map_cost(o, flags)) || !mem_commit_for(p, mem_map_charge(m)) ||
        (shared && (prot & MEM_W) && !mem_object_charge_locked(o, offset + (hi - lo)))) {
        mem_map_record_free(m);
        return err_set(err, ERR_LIMIT, "the snapshot needs more memory than this guest may have");
    }
    mem_map_insert_locked(m);
    if (!mem_map_host_locked(m, m->wrote))
        return err_set(err, ERR_NO_MEMORY, "map of a snapshot");
    if (m->wrote)
        m->lineage = mem_unique();
    c->at = hi;
    if (load_runs(c, m, err) != OK)
        return FAIL;
    if (m->wrote)
        mem_apply_locked(s, lo, hi);
    return OK;
}

res_code_t mem_space_load(struct mem_pool *p, struct snap_reader *r,
                          struct mem_object *(*object_by_id)(void *ctx, uint64_t id), void *ctx,
                          struct mem_space **out, struct err *err)
{
    if (!snap_open(r, SPACE_TAG, VERSION))
        return snap_check(r, err);
    uint32_t bits = snap_get_u32(r);
    uint64_t count = snap_get_u64(r);
    if (bits != p->config.window_bits)
        snap_refuse(r, "window of 2^%u bytes, where this guest has 2^%u", bits,
                    p->config.window_bits);
    if (snap_check(r, err) != OK)
        return FAIL;
    struct loading c = {.r = r, .object_by_id = object_by_id, .ctx = ctx, .at = WINDOW_LOW};
    if (mem_space_new(p, &c.space, err) != OK)
        return FAIL;
    res_code_t rc = OK;
    pool_lock(p);
    while (count-- && rc == OK)
        rc = load_map(&c, err);
    pool_unlock(p);
    snap_close(r);
    if (rc == OK)
        rc = snap_check(r, err);
    if (rc != OK) {
        mem_space_put(c.space);
        return FAIL;
    }
    *out = c.space;
    return OK;
}

/* ---- objects: {size, runs of data} ---- */

uint64_t mem_object_snap_id(struct mem_object *o)
{
    return o->snap_id;
}

static res_code_t save_extent(struct mem_object *o, uint64_t lo, uint64_t hi, void *buffer,
                              struct snap_writer *w, struct err *err)
{
    for (; lo < hi; lo += MIN(PIECE, hi - lo)) {
        size_t n = MIN(PIECE, hi - lo);
        ssize_t got = pread(o->fd, buffer, n, (off_t)(o->base + lo));
        if (got != (ssize_t)n)
            return err_set_os(err, "reading back a file of the guest");
        snap_put_u64(w, n);
        snap_put_u64(w, lo);
        if (w->page_fd >= 0) {
            uint64_t at = 0;
            if (snap_put_pages(w, buffer, n, &at, err) != OK)
                return FAIL;
            snap_put_u64(w, at);
        } else {
            snap_put_bytes(w, buffer, n);
        }
    }
    return OK;
}

res_code_t mem_object_save(struct mem_object *o, struct snap_writer *w, struct err *err)
{
    CLEANUP(free_ptr) void *buffer = malloc(PIECE);
    if (!buffer)
        return err_set(err, ERR_NO_MEMORY, "saving a file of the guest");
    res_code_t rc = OK;
    pool_lock(o->pool);
    snap_begin(w, OBJECT_TAG, VERSION);
    snap_put_u64(w, o->size);
    uint64_t end = ALIGN_UP(o->size, PAGE_SIZE);
    for (uint64_t lo = 0; lo < end && rc == OK;) {
        off_t data = lseek(o->fd, (off_t)(o->base + lo), SEEK_DATA);
        if (data < 0 || (uint64_t)data >= o->base + end)
            break;
        off_t hole = lseek(o->fd, data, SEEK_HOLE);
        uint64_t from = (uint64_t)data - o->base,
                 to = hole < 0 ? end : MIN((uint64_t)hole - o->base, end);
        rc = save_extent(o, from, to, buffer, w, err);
        lo = to;
    }
    snap_put_u64(w, 0);
    snap_end(w);
    pool_unlock(o->pool);
    return rc;
}

static res_code_t load_extents(struct mem_object *o, struct snap_reader *r, struct err *err)
{
    uint64_t end = ALIGN_UP(o->size, PAGE_SIZE);
    CLEANUP(free_ptr) char *buffer = malloc(PIECE);
    if (!buffer)
        return err_set(err, ERR_NO_MEMORY, "loading a file of the guest");
    for (;;) {
        uint64_t n = snap_get_max(r, PIECE, "piece of a file");
        if (r->failed || !n)
            return snap_check(r, err);
        uint64_t lo = snap_get_u64(r);
        if ((lo | n) % PAGE_SIZE || lo > end || n > end - lo)
            snap_refuse(r, "data at %llu of a file of %llu bytes", (unsigned long long)lo,
                        (unsigned long long)o->size);
        if (r->failed || get_run(r, buffer, n, err) != OK)
            return r->failed ? snap_check(r, err) : FAIL;
        int64_t put = mem_object_write(o, lo, buffer, MIN(n, o->size - lo));
        if (put < 0) {
            errno = (int)-put;
            return err_set(err, put == -ENOSPC ? ERR_LIMIT : ERR_OS, "a file of the snapshot: %s",
                           strerror(errno));
        }
    }
}

res_code_t mem_object_load(struct mem_pool *p, struct snap_reader *r, struct mem_object **out,
                           struct err *err)
{
    if (!snap_open(r, OBJECT_TAG, VERSION))
        return snap_check(r, err);
    uint64_t size = snap_get_max(r, OBJECT_BYTES, "size of a file");
    struct mem_object *o = NULL;
    if (snap_check(r, err) != OK || mem_object_memory(p, size, &o, err) != OK)
        return FAIL;
    res_code_t rc = load_extents(o, r, err);
    snap_close(r);
    if (rc == OK)
        rc = snap_check(r, err);
    if (rc != OK) {
        mem_object_put(o);
        return FAIL;
    }
    *out = o;
    return OK;
}
