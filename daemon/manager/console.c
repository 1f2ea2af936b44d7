#include "daemon/manager/console.h"
#include "engine/base/base.h"
#include "engine/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x31676f6c2d646d76) /* "vmd-log1" */
#define RECORD_MAX 32768                   /* a record grows to this before a new one begins */
#define RECORD_NS 1000000000               /* and for so long, since it has one time */

struct record {
    uint32_t bytes;
    uint32_t stream;
    uint64_t seq; /* of its first byte */
    int64_t time_ns;
};
_Static_assert(sizeof(struct record) == MGR_CONSOLE_HEAD, "rule (2)");

res_code_t mgr_console_init(struct mgr_console *c, size_t kept_bytes, const char *path,
                            struct err *err)
{
    *c = (struct mgr_console){.ring_bytes = ALIGN_UP(kept_bytes + MGR_CONSOLE_ROOM, PAGE_SIZE)};
    if (path && !(c->path = strdup(path)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a console");
    return OK;
}

static void unmap(struct mgr_console *c)
{
    if (c->book)
        munmap(c->book, PAGE_SIZE + c->ring_bytes);
    c->book = NULL;
    c->data = NULL;
}

void mgr_console_fini(struct mgr_console *c, bool remove_file)
{
    unmap(c);
    if (remove_file && c->path)
        unlink(c->path);
    free(c->path);
    c->path = NULL;
}

static bool map(struct mgr_console *c, int fd, int flags)
{
    void *p = mmap(NULL, PAGE_SIZE + c->ring_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (p == MAP_FAILED)
        return false;
    c->book = p;
    c->data = (uint8_t *)p + PAGE_SIZE;
    return true;
}

/* Its blocks are there before it is mapped: a full disk is an error here, not a fault later. */
static bool map_new_file(struct mgr_console *c)
{
    CLEANUP(close_fd)
    int fd = open(c->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    int rc = posix_fallocate(fd, 0, (off_t)(PAGE_SIZE + c->ring_bytes));
    if (!rc && map(c, fd, MAP_SHARED))
        return true;
    unlink(c->path);
    return false;
}

static bool begin(struct mgr_console *c)
{
    if (!(c->path && map_new_file(c)) && !map(c, -1, MAP_PRIVATE | MAP_ANONYMOUS))
        return false;
    if (c->path && access(c->path, F_OK))
        log_warn("%s cannot be made: this console's log will not outlive the daemon", c->path);
    *c->book = (struct mgr_console_book){.magic = MAGIC, .ring_bytes = c->ring_bytes};
    return true;
}

static void copy_in(struct mgr_console *c, uint64_t pos, const void *p, size_t n)
{
    size_t at = pos % c->ring_bytes, first = MIN(n, c->ring_bytes - at);
    memcpy(c->data + at, p, first);
    memcpy(c->data, (const uint8_t *)p + first, n - first);
}

static void copy_out(const struct mgr_console *c, uint64_t pos, void *p, size_t n)
{
    size_t at = pos % c->ring_bytes, first = MIN(n, c->ring_bytes - at);
    memcpy(p, c->data + at, first);
    memcpy((uint8_t *)p + first, c->data, n - first);
}

static struct record record_at(const struct mgr_console *c, uint64_t pos)
{
    struct record r;
    copy_out(c, pos, &r, sizeof r);
    return r;
}

/* The books of a file that a killed daemon left: every record from tail to head is whole but perhaps the newest, which may say
 * more than head does. */
static bool sound(struct mgr_console *c)
{
    struct mgr_console_book *k = c->book;
    uint64_t seq = 0;
    if (k->magic != MAGIC || k->ring_bytes != c->ring_bytes || k->tail > k->head ||
        k->head - k->tail > c->ring_bytes)
        return false;
    bool first = true;
    for (uint64_t pos = k->tail; pos < k->head;) {
        struct record r = record_at(c, pos);
        uint64_t room = k->head - pos;
        if (room < sizeof r || r.stream < 1 || r.stream > 2 || (!first && r.seq != seq))
            return false;
        if (r.bytes > room - sizeof r) {
            r.bytes = (uint32_t)(room - sizeof r);
            copy_in(c, pos, &r, sizeof r);
        }
        if (r.bytes == 0)
            return false;
        k->last = pos;
        seq = r.seq + r.bytes;
        pos += sizeof r + r.bytes;
        first = false;
    }
    if (k->head > k->tail)
        k->seq = seq;
    return true;
}

void mgr_console_restore(struct mgr_console *c)
{
    struct stat st;
    CLEANUP(close_fd) int fd = c->path ? open(c->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size == PAGE_SIZE + c->ring_bytes &&
        posix_fallocate(fd, 0, st.st_size) == 0 && map(c, fd, MAP_SHARED) && sound(c))
        return;
    log_warn("%s is damaged; the log begins anew", c->path);
    unmap(c);
    unlink(c->path);
}

uint64_t mgr_console_seq(const struct mgr_console *c)
{
    return c->book ? c->book->seq : 0;
}

/* Make room for n bytes after head. */
static void make_room(struct mgr_console *c, size_t n)
{
    struct mgr_console_book *k = c->book;
    while (k->head + n - k->tail > c->ring_bytes)
        k->tail += sizeof(struct record) + record_at(c, k->tail).bytes;
}

bool mgr_console_put(struct mgr_console *c, unsigned stream, const void *p, size_t n,
                     int64_t time_ns)
{
    ASSERT(n <= MGR_CONSOLE_PUT_MAX);
    if (n == 0)
        return true;
    if (!c->book && !begin(c))
        return false;
    struct mgr_console_book *k = c->book;
    make_room(c, n + sizeof(struct record));
    struct record r = {0};
    if (k->head > k->last && k->last >= k->tail)
        r = record_at(c, k->last);
    uint64_t head = k->head;
    if (r.bytes && r.stream == stream && r.bytes + n <= RECORD_MAX &&
        time_ns - r.time_ns < RECORD_NS) {
        copy_in(c, head, p, n);
        r.bytes += (uint32_t)n;
    } else {
        k->last = head;
        r = (struct record){(uint32_t)n, stream, k->seq, time_ns};
        copy_in(c, head + sizeof r, p, n);
        head += sizeof r;
    }
    copy_in(c, k->last, &r, sizeof r);
    __atomic_signal_fence(__ATOMIC_RELEASE); /* rule (3) */
    k->head = head + n;
    k->seq += n;
    return true;
}

/* ---- cursors ---- */

struct mgr_cursor mgr_console_begin(void)
{
    return (struct mgr_cursor){0, 0};
}

/* The newest byte may be in the middle of a record that still grows. */
struct mgr_cursor mgr_console_newest(const struct mgr_console *c)
{
    const struct mgr_console_book *k = c->book;
    if (!k)
        return mgr_console_begin();
    return (struct mgr_cursor){k->head > k->last && k->last >= k->tail ? k->last : k->head, k->seq};
}

struct mgr_cursor mgr_console_from(const struct mgr_console *c, uint64_t seq)
{
    const struct mgr_console_book *k = c->book;
    if (!k || seq >= k->seq)
        return mgr_console_newest(c);
    for (uint64_t pos = k->tail; pos < k->head;) {
        struct record r = record_at(c, pos);
        if (seq < r.seq + r.bytes)
            return (struct mgr_cursor){pos, MAX(seq, r.seq)};
        pos += sizeof r + r.bytes;
    }
    return mgr_console_newest(c);
}

struct mgr_cursor mgr_console_since(const struct mgr_console *c, int64_t time_ns)
{
    const struct mgr_console_book *k = c->book;
    for (uint64_t pos = k ? k->tail : 0; k && pos < k->head;) {
        struct record r = record_at(c, pos);
        if (r.time_ns >= time_ns)
            return (struct mgr_cursor){pos, r.seq};
        pos += sizeof r + r.bytes;
    }
    return mgr_console_newest(c);
}

/* Walk the kept bytes; stop behind newline number `skip` (UINT64_MAX: never). Counts newlines that are not the very last byte. */
static uint64_t walk_lines(const struct mgr_console *c, uint64_t skip, struct mgr_cursor *at)
{
    const struct mgr_console_book *k = c->book;
    uint64_t lines = 0;
    for (uint64_t pos = k->tail; pos < k->head;) {
        struct record r = record_at(c, pos);
        for (uint32_t i = 0; i < r.bytes; i++) {
            uint64_t seq = r.seq + i + 1;
            if (c->data[(pos + sizeof r + i) % c->ring_bytes] != '\n' || seq == k->seq)
                continue;
            if (++lines == skip) {
                *at = (struct mgr_cursor){pos, seq};
                return lines;
            }
        }
        pos += sizeof r + r.bytes;
    }
    return lines;
}

struct mgr_cursor mgr_console_tail(const struct mgr_console *c, uint32_t lines)
{
    struct mgr_cursor at = mgr_console_newest(c);
    if (!c->book || lines == 0)
        return at;
    uint64_t ends = walk_lines(c, UINT64_MAX, &at);
    if (ends < lines)
        return (struct mgr_cursor){c->book->tail, c->book->head > c->book->tail
                                                      ? record_at(c, c->book->tail).seq
                                                      : c->book->seq};
    (void)walk_lines(c, ends - lines + 1, &at);
    return at;
}

uint64_t mgr_console_behind(const struct mgr_console *c, const struct mgr_cursor *at)
{
    const struct mgr_console_book *k = c->book;
    return !k || at->seq == k->seq ? 0 : k->head - MAX(at->pos, k->tail);
}

size_t mgr_console_get(const struct mgr_console *c, struct mgr_cursor *at, struct mgr_piece *piece,
                       void *p, size_t n)
{
    const struct mgr_console_book *k = c->book;
    *piece = (struct mgr_piece){0};
    if (!k || at->seq == k->seq)
        return 0;
    if (at->pos < k->tail) {
        uint64_t oldest = record_at(c, k->tail).seq; /* there is one, since there are bytes */
        piece->dropped = oldest > at->seq ? oldest - at->seq : 0;
        *at = (struct mgr_cursor){k->tail, MAX(oldest, at->seq)};
    }
    struct record r = record_at(c, at->pos);
    if (at->seq == r.seq + r.bytes) { /* all of it was read; there is a next one */
        at->pos += sizeof r + r.bytes;
        r = record_at(c, at->pos);
    }
    ASSERT(at->seq >= r.seq && at->seq < r.seq + r.bytes);
    size_t off = (size_t)(at->seq - r.seq), got = MIN(n, r.bytes - off);
    copy_out(c, at->pos + sizeof r + off, p, got);
    piece->stream = r.stream;
    piece->time_ns = r.time_ns;
    at->seq += got;
    return got;
}
