/*
 * memory/memory.h - guest memory of programs: objects, maps, windows, the code watch (DESIGN 6, D2).
 *
 * Looks into: base, cpu, snapshot, profile, image.  Used by: translate, execute, linux, vm.
 *
 * mem_pool    per guest: budgets (host mappings, committed bytes, windows) and the memfd that backs shared objects.
 * mem_object  what can be mapped: anonymous-shared, or a file (an image inode, an overlay inode). Counted. Private
 *             anonymous memory has no object of its own but an identity per map.
 * mem_space   one guest address space: one window of host addresses, an interval tree of maps. Counted.
 *
 * Guest-visible calls answer as Linux does: 0 or a positive result, or -LX errno (the numbers of Linux on every
 * architecture we know: EPERM 1 .. see <errno.h> of the host). Lengths and addresses are the guest's, unchecked.
 *
 * Lock order: lx.lock > mem_pool's lock (of all its spaces and objects) > cc_space.lock. Each public function takes what it
 * needs; the lock covers the host call and the bookkeeping together. Host calls made for a guest are cut into pieces of 4 MiB.
 *
 * Rules, verified by mem_check():
 *  (1) Every page of the window outside the maps is PROT_NONE; the first 64 KiB and the last GiB are never mapped.
 *  (2) A page that is watched is host-read-only in every map of it, whatever the guest's protection.
 *  (3) No guest page is host-executable, ever.
 *  (4) The number of host mappings of a pool never exceeds its budget.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "engine/base/err.h"
#include "engine/cpu/access.h"
#include "engine/cpu/vcpu.h"

struct mem_pool;
struct mem_object;
struct mem_space;
struct snap_writer;
struct snap_reader;

enum mem_prot { MEM_R = 1, MEM_W = 2, MEM_X = 4 };
enum mem_flag {
    MEM_SHARED = 1,      /* writes reach the object */
    MEM_FIXED = 2,       /* at this address, replacing what is there */
    MEM_NOREPLACE = 4,   /* at this address, or -EEXIST */
    MEM_GROWSDOWN = 8,   /* accepted; stacks are given their whole limit at once */
    MEM_NORESERVE = 16,  /* not counted as committed until made writable */
    /* With GROWSDOWN, the first time in a space, at most 8 MiB: the process's own stack, counted as 256 KiB, as most of it is never
     * touched. Otherwise it means nothing (so it may come from a guest's flags). */
    MEM_STACK = 32,
    MEM_NOWRITE = 64,    /* kept for the owner: a shared map that may never become writable (the file was opened read-only) */
};

struct mem_pool_config {
    uint64_t commit_bytes; /* limit of private writable memory of all spaces together, and of what is mapped shared
                              and writable; 0: 512 MiB */
    uint32_t maps;         /* host mappings of all spaces together; 0: 16384 */
    uint32_t window_bits;  /* 32..38; 36 is usual (0) */
    uint64_t object_bytes; /* limit of what memory objects hold together (mem_object_write: -ENOSPC); 0: none */
};
/* Once per process, by the process itself (not its parent), before it is confined: opens /proc/self/pagemap.
 * mem_pool_new does it if it was not done. */
res_t mem_process_init(struct err *err);
res_t mem_pool_new(const struct mem_pool_config *c, struct mem_pool **p, struct err *err);
void mem_pool_free(struct mem_pool *p); /* no space and no object may be left */
uint64_t mem_pool_committed_bytes(struct mem_pool *p);
uint64_t mem_pool_object_bytes(struct mem_pool *p); /* really held by all memory objects (O(1)) */

struct mem_stats {
    uint64_t host_mmaps, host_mprotects, host_drops; /* host calls */
    uint64_t faults, lifted, dirtied, watched, hot;  /* code watch: mem_fault calls, pages */
    uint64_t forks, fork_pages_copied;
    uint64_t windows_new, windows_recycled;
    uint64_t host_maps; /* now, counted from above (rule 4) */
};
void mem_pool_stats(struct mem_pool *p, struct mem_stats *out);

/* ---- objects ---- */

/* A file of the image: read only; private writable maps copy. [offset, offset+size) of fd; offset page-aligned. The tail
 * of the last page may hold other bytes: mapped tail bytes read as zero only if the image writer padded it (ours does).
 * key identifies the inode inside its image, for code-space keys. The fd is borrowed from the pool's owner for the pool's life. */
res_t mem_object_image(struct mem_pool *p, int fd, uint64_t offset, uint64_t size, uint64_t key, struct mem_object **o,
                       struct err *err);
/* A growable file or shared anonymous memory, in the pool's memfd: sparse, zero-filled. */
res_t mem_object_memory(struct mem_pool *p, uint64_t size, struct mem_object **o, struct err *err);
struct mem_object *mem_object_get(struct mem_object *o);
void mem_object_put(struct mem_object *o);
bool mem_object_shared(struct mem_object *o); /* somebody else holds a reference too (a map does) */
uint64_t mem_object_size(struct mem_object *o);
/* Bytes really held (pages written), for quotas. */
uint64_t mem_object_held_bytes(struct mem_object *o);
/* Read or write a memory object from the emulator (host buffer). Reads are cut at size; writes grow it. They take the watch
 * into account (mem_will_write). Return bytes or -errno (ENOSPC when the overlay quota callback said no). */
int64_t mem_object_read(struct mem_object *o, uint64_t off, void *p, size_t n);
int64_t mem_object_write(struct mem_object *o, uint64_t off, const void *p, size_t n);
/* Truncate or extend; pages beyond the end disappear from every map (SIGBUS there). */
int mem_object_resize(struct mem_object *o, uint64_t size);
/* Mark dirty and lift the watch on all maps of the pages in [off, off+n). */
void mem_will_write(struct mem_object *o, uint64_t off, uint64_t n);
/* Seek for data (hole = false) or a hole from off on, as lseek; -ENXIO. */
int64_t mem_object_seek(struct mem_object *o, uint64_t off, bool hole);

/* ---- spaces ---- */

/* Hooks of the code side (execute). Called with the pool's lock held, on the thread that makes the change, before it
 * takes effect for exec_gone. A hook may call mem_exec_key, mem_find and mem_dirty_*, must not change maps, and must not wait
 * for another vCPU, which may be waiting for the lock in mem_fault. */
struct mem_hooks {
    void *ctx;
    /* [lo, hi) stops being executable or changes what is mapped there. */
    void (*exec_gone)(void *ctx, gva_t lo, gva_t hi);
    /* The set of executable maps changed in any way (key of the code space), also when one became writable. */
    void (*exec_changed)(void *ctx);
};

res_t mem_space_new(struct mem_pool *p, struct mem_space **s, struct err *err);
struct mem_space *mem_space_get(struct mem_space *s);
void mem_space_put(struct mem_space *s);
void mem_space_set_hooks(struct mem_space *s, const struct mem_hooks *h); /* NULL: none */
uint8_t *mem_space_window(struct mem_space *s);
uint64_t mem_space_bytes(struct mem_space *s); /* of the window: a power of two */
/* A copy for fork. The parent's threads do not run. The child inherits the watch and the dirty set, not the hooks. -ENOMEM. */
int mem_space_fork(struct mem_space *parent, struct mem_space **child);
/* Empty the space (execve); the window stays. */
void mem_space_clear(struct mem_space *s);

/* mmap. addr is a hint unless FIXED or NOREPLACE; len > 0, rounded up. object NULL: anonymous. name shows in maps ("[stack]", a
 * path; copied), may be NULL. MEM_SHARED without an object makes one of its own. Returns the address or -errno. */
int64_t mem_map(struct mem_space *s, gva_t addr, uint64_t len, int prot, int flags, struct mem_object *o, uint64_t offset,
                const char *name);
int mem_unmap(struct mem_space *s, gva_t addr, uint64_t len);
int mem_protect(struct mem_space *s, gva_t addr, uint64_t len, int prot);
/* mremap. may_move / fixed address new_addr (UINT64_MAX: anywhere). Returns the address or -errno. */
int64_t mem_remap(struct mem_space *s, gva_t addr, uint64_t old_len, uint64_t new_len, bool may_move, gva_t new_addr);
/* madvise DONTNEED: private anonymous reads as zero again, file pages as in the file. */
int mem_discard(struct mem_space *s, gva_t addr, uint64_t len);
int mem_sync(struct mem_space *s, gva_t addr, uint64_t len); /* msync: -ENOMEM on unmapped, else 0 */

struct mem_map_info {
    gva_t start, end;
    int prot, flags;
    struct mem_object *object; /* borrowed, may be NULL */
    uint64_t offset;
    char name[128];
};
/* The map that holds addr, or the next one above it; false if none. */
bool mem_find(struct mem_space *s, gva_t addr, struct mem_map_info *out);
uint64_t mem_space_mapped_bytes(struct mem_space *s);
/* Executable maps in order, as bytes for a code-space key: {start, length, object identity, offset, write generation}, five
 * u64 each. Returns the whole length; at most n bytes are written. Equal keys mean equal code: private memory that is or was
 * writable has an identity that no other space shares, so after fork the keys of parent and child are equal
 * unless there is such executable memory (then the child needs a code space of its own). Files that are not immutable
 * carry a generation that a write to a watched page moves; such a write also marks the page dirty in every space that maps it
 * executable, watched there or not. */
size_t mem_exec_key(struct mem_space *s, void *p, size_t n);

/* ---- copies for the emulator: unmasked addresses; true, or false (EFAULT) with as much done as Linux may do ---- */
bool mem_copy_in(struct mem_space *s, void *p, gva_t a, size_t n);
bool mem_copy_out(struct mem_space *s, gva_t a, const void *p, size_t n);
/* How many bytes of the copy were done before the fault (for read/write's short counts). */
size_t mem_copy_in_some(struct mem_space *s, void *p, gva_t a, size_t n);
size_t mem_copy_out_some(struct mem_space *s, gva_t a, const void *p, size_t n);
/* A string with its NUL into p: length, -EFAULT, or -ENAMETOOLONG if no NUL within n bytes. */
int64_t mem_copy_str(struct mem_space *s, char *p, gva_t a, size_t n);
/* Debugger's view: ignores protections (ptrace-like, core dumps, run_disasm, snapshot). */
bool mem_peek(struct mem_space *s, void *p, gva_t a, size_t n);

/* ---- code watch ---- */

enum mem_watch { MEM_WATCH_OK, MEM_WATCH_HOT, MEM_WATCH_FAULT };
/* Before the translator reads a page: make every map of it read-only on the host. HOT: the page was written so often that it is no
 * longer watched; the block must check itself. FAULT: not mapped executable. */
enum mem_watch mem_watch_page(struct mem_space *s, gva_t page);
/* Copy up to n code bytes from pc on (stops at the first page that is not executable); pages must be watched. */
size_t mem_read_code(struct mem_space *s, gva_t pc, void *p, size_t n);
/* The same within one page that mem_watch_page has just called executable: it is not asked again. */
size_t mem_read_watched(struct mem_space *s, gva_t pc, void *p, size_t n);
/* Is anything dirty? (fast, any thread) */
bool mem_dirty_any(struct mem_space *s);
/* Take the dirty pages of this space, one call of f each with the lock held (as a hook), and clean the set. A page may come twice,
 * and may have been unmapped since. */
void mem_dirty_take(struct mem_space *s, void (*f)(void *ctx, gva_t page), void *ctx);

/* ---- faults (called by execute) ---- */

enum mem_fault { MEM_FAULT_RETRY, MEM_FAULT_PAGE, MEM_FAULT_BUS, MEM_FAULT_NOT_OURS };
/* A fault at a guest address while T1 or an accessor touched it: lifts a watch (marks dirty) and says RETRY, or says what the guest
 * gets. Not in the signal handler: the handler redirects, this runs on the vCPU thread. */
enum mem_fault mem_fault(struct mem_space *s, gva_t a, bool write);
/* From the signal handler, async-signal-safe: if rip is in an accessor, the address to go on at; else 0. */
uint64_t mem_fixup(uint64_t rip);

bool mem_check(struct mem_space *s); /* the rules; debug and tests */

res_t mem_space_save(struct mem_space *s, struct snap_writer *w, struct err *err);
res_t mem_space_load(struct mem_pool *p, struct snap_reader *r,
                     struct mem_object *(*object_by_id)(void *ctx, uint64_t id), void *ctx, struct mem_space **s, struct err *err);
/* Identity of an object in a snapshot, given by its owner. */
void mem_object_set_snap_id(struct mem_object *o, uint64_t id);
uint64_t mem_object_snap_id(struct mem_object *o); /* 0: none yet; a space whose maps show such an object cannot be saved */
res_t mem_object_save(struct mem_object *o, struct snap_writer *w, struct err *err);
res_t mem_object_load(struct mem_pool *p, struct snap_reader *r, struct mem_object **o, struct err *err);

#endif
