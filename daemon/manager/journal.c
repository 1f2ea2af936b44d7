#include "daemon/manager/journal.h"
#include "engine/base/arena.h"
#include "engine/base/log.h"
#include "proto/message.h"
#include "proto/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1
#define RECORD_BYTES_MAX ((size_t)1 << 20)
#define RENEW_BYTES \
    ((uint64_t)8 << 20) /* made anew when it grew by this, and by as much as it began with */

struct head {
    uint32_t bytes, sum;
};

struct mgr_journal {
    struct mgr *m;
    int fd;
    uint64_t bytes, begun_with; /* now, and when it was last made anew */
    bool broken;
    void (*snapshot)(struct mgr *m);
    /* syncing, in the pool */
    uv_work_t sync;
    bool syncing, unsynced;
    /* making it anew: `fresh` takes the snapshot, then everything that is put until the new file is in place */
    uv_work_t renew;
    bool renewing, snapping;
    struct buf fresh;
    int fresh_fd;
    size_t fresh_written;
    int fresh_errno;
    char path[PB_PATH_MAX], beside[PB_PATH_MAX], dir[PB_PATH_MAX];
};

/* FNV-1a: tells a torn or flipped record, nothing more. */
static uint32_t checksum(const uint8_t *p, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(h ^ h >> 32);
}

static void frame(struct buf *b, const PbStateRecord *r)
{
    size_t n = protobuf_c_message_get_packed_size(&r->base), at = b->len;
    struct head head = {(uint32_t)n, 0};
    ASSERT(n <= RECORD_BYTES_MAX);
    if (!buf_reserve(b, n + sizeof head))
        return;
    buf_put(b, &head, sizeof head);
    b->len += protobuf_c_message_pack(&r->base, b->data + b->len);
    head.sum = checksum(b->data + at + sizeof head, n);
    memcpy(b->data + at, &head, sizeof head);
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void frame_head(struct mgr *m, struct buf *b)
{
    PbStateHead head = PB_STATE_HEAD__INIT;
    head.version = VERSION;
    head.next_guest = m->next_guest_id;
    head.next_event = m->next_event;
    head.next_worker = m->next_worker;
    MGR_RECORD(HEAD, head, &head);
    frame(b, &record);
}

/* ---- syncing ---- */

static void sync_file(uv_work_t *w)
{
    struct mgr_journal *j = container_of(w, struct mgr_journal, sync);
    (void)fdatasync(j->fd);
}

static void synced(uv_work_t *w, int status);

static void sync_soon(struct mgr_journal *j)
{
    j->unsynced = true;
    if (j->syncing || j->renewing || uv_queue_work(j->m->loop, &j->sync, sync_file, synced))
        return;
    j->syncing = true;
    j->unsynced = false;
}

static void synced(uv_work_t *w, int status)
{
    struct mgr_journal *j = container_of(w, struct mgr_journal, sync);
    (void)status;
    j->syncing = false;
    if (j->unsynced)
        sync_soon(j);
}

/* ---- rule (3) ---- */

static void write_fresh(uv_work_t *w)
{
    struct mgr_journal *j = container_of(w, struct mgr_journal, renew);
    j->fresh_errno = 0;
    j->fresh_fd = open(j->beside, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (j->fresh_fd < 0 || !write_all(j->fresh_fd, j->fresh.data, j->fresh_written) ||
        fsync(j->fresh_fd))
        j->fresh_errno = errno ? errno : EIO;
}

/* What was put meanwhile stands behind the snapshot; with it the new file says all that the old one says. */
static void install_fresh(uv_work_t *w, int status)
{
    struct mgr_journal *j = container_of(w, struct mgr_journal, renew);
    bool ok =
        !status && !j->fresh_errno && !j->fresh.failed &&
        write_all(j->fresh_fd, j->fresh.data + j->fresh_written, j->fresh.len - j->fresh_written) &&
        fdatasync(j->fresh_fd) == 0 && rename(j->beside, j->path) == 0;
    j->renewing = false;
    if (ok) {
        CLEANUP(close_fd) int dir = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(dir))
            log_warn("syncing %s: %s", j->dir, strerror(errno));
        close_fd(&j->fd);
        j->fd = j->fresh_fd;
        j->bytes = j->begun_with = j->fresh.len;
        if (j->broken)
            log_info("%s: records are taken again", j->path);
        j->broken = false;
    } else {
        log_error("%s cannot be made anew: %s", j->path,
                  strerror(j->fresh_errno ? j->fresh_errno : errno));
        close_fd(&j->fresh_fd);
        unlink(j->beside);
        j->begun_with = j->bytes; /* try again when it has grown as much again */
    }
    buf_fini(&j->fresh);
    if (j->unsynced)
        sync_soon(j);
}

static void renew(struct mgr_journal *j)
{
    j->fresh = (struct buf){0};
    frame_head(j->m, &j->fresh);
    j->snapping = true;
    j->snapshot(j->m);
    j->snapping = false;
    j->fresh_written = j->fresh.len;
    if (j->fresh.failed || uv_queue_work(j->m->loop, &j->renew, write_fresh, install_fresh)) {
        log_error("%s: no memory to make it anew", j->path);
        buf_fini(&j->fresh);
        return;
    }
    j->renewing = true;
}

/* ---- putting ---- */

void mgr_journal_put(struct mgr *m, const PbStateRecord *r)
{
    struct mgr_journal *j = m->journal;
    if (j->snapping) {
        frame(&j->fresh, r);
        return;
    }
    struct buf b = {0};
    frame(&b, r);
    if (b.failed || !write_all(j->fd, b.data, b.len)) {
        if (!j->broken)
            log_error("%s: %s; no guests are made until it can be written", j->path,
                      b.failed ? "no memory" : strerror(errno));
        j->broken = true;
        if (ftruncate(j->fd, (off_t)j->bytes)) /* no half record in the middle */
            log_error("%s: %s", j->path, strerror(errno));
    } else {
        j->bytes += b.len;
        if (j->renewing)
            buf_put(&j->fresh, b.data, b.len);
    }
    buf_fini(&b);
    if (!j->renewing && !j->syncing &&
        (j->broken || (j->bytes - j->begun_with > RENEW_BYTES && j->bytes > 2 * j->begun_with)))
        renew(j);
    else
        sync_soon(j);
}

bool mgr_journal_broken(const struct mgr *m)
{
    return m->journal->broken;
}

/* ---- reading ---- */

static res_code_t use_head(struct mgr *m, const PbStateHead *head, const char *path,
                           struct err *err)
{
    if (head->version == 0 || head->version > VERSION)
        return err_set(err, ERR_INVALID, "%s is of version %u; this vmd reads up to %d", path,
                       head->version, VERSION);
    m->next_guest_id = MAX(m->next_guest_id, head->next_guest);
    m->next_event = MAX(m->next_event, head->next_event);
    m->next_worker = MAX(m->next_worker, head->next_worker);
    return OK;
}

/* One record at p; *used is its length, 0: it is cut off. */
static res_code_t
read_one(struct mgr *m, const uint8_t *p, size_t n, uint64_t at, size_t *used,
         res_code_t (*use)(struct mgr *m, const PbStateRecord *r, struct err *err), struct err *err)
{
    struct mgr_journal *j = m->journal;
    struct head head;
    const ProtobufCMessage *msg;
    *used = 0;
    if (n < sizeof head)
        return OK;
    memcpy(&head, p, sizeof head);
    if (head.bytes > RECORD_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%s: damaged at byte %llu", j->path,
                       (unsigned long long)at);
    if (n - sizeof head < head.bytes)
        return OK;
    bool last = n - sizeof head == head.bytes;
    if (checksum(p + sizeof head, head.bytes) != head.sum)
        return last ? OK
                    : err_set(err, ERR_INVALID, "%s: damaged at byte %llu", j->path,
                              (unsigned long long)at);
    struct arena arena;
    arena_init(&arena, PB_ARENA_BYTES(head.bytes));
    res_code_t res =
        pb_unpack(&pb_state_record__descriptor, &arena, p + sizeof head, head.bytes, &msg, err);
    if (!res) {
        const PbStateRecord *r = (const PbStateRecord *)msg;
        if (r->kind_case == PB_STATE_RECORD__KIND_HEAD)
            res = use_head(m, r->head, j->path, err);
        else
            res = use(m, r, err);
    }
    arena_fini(&arena);
    if (res)
        return err_wrap(err, "%s at byte %llu", j->path, (unsigned long long)at);
    *used = sizeof head + head.bytes;
    return OK;
}

static res_code_t
read_all(struct mgr *m, res_code_t (*use)(struct mgr *m, const PbStateRecord *r, struct err *err),
         struct err *err)
{
    struct mgr_journal *j = m->journal;
    struct buf in = {0};
    uint8_t chunk[65536];
    ssize_t k;
    size_t used;
    res_code_t res = OK;
    while (!res && (k = read(j->fd, chunk, sizeof chunk)) > 0) {
        size_t at = 0;
        buf_put(&in, chunk, (size_t)k);
        if (in.failed)
            res = err_set(err, ERR_NO_MEMORY, "no memory for %s", j->path);
        while (!res && !(res = read_one(m, in.data + at, in.len - at, j->bytes, &used, use, err)) &&
               used) {
            at += used;
            j->bytes += used;
        }
        buf_drop_front(&in, at);
    }
    if (!res && k < 0)
        res = err_set_os(err, "%s", j->path);
    if (!res && in.len) {
        log_warn("%s: the last record was cut off; its %zu bytes are dropped", j->path, in.len);
        if (ftruncate(j->fd, (off_t)j->bytes))
            res = err_set_os(err, "%s", j->path);
    }
    buf_fini(&in);
    return res;
}

res_code_t mgr_journal_open(struct mgr *m,
                            res_code_t (*use)(struct mgr *m, const PbStateRecord *r,
                                              struct err *err),
                            void (*snapshot)(struct mgr *m), struct err *err)
{
    struct mgr_journal *j = calloc(1, sizeof *j);
    if (!j)
        return err_set(err, ERR_NO_MEMORY, "no memory for the journal");
    m->journal = j;
    j->m = m;
    j->snapshot = snapshot;
    j->fresh_fd = -1;
    snprintf(j->dir, sizeof j->dir, "%s", m->opt->state);
    snprintf(j->path, sizeof j->path, "%.4000s/journal", m->opt->state);
    snprintf(j->beside, sizeof j->beside, "%.4000s/journal.new", m->opt->state);
    unlink(j->beside);
    j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (j->fd < 0)
        return err_set_os(err, "%s", j->path);
    if (read_all(m, use, err))
        return FAIL;
    if (j->bytes == 0) {
        struct buf b = {0};
        frame_head(m, &b);
        bool ok = !b.failed && write_all(j->fd, b.data, b.len);
        j->bytes = b.len;
        buf_fini(&b);
        if (!ok)
            return err_set_os(err, "%s", j->path);
    }
    j->begun_with = j->bytes;
    return OK;
}

void mgr_journal_close(struct mgr *m)
{
    struct mgr_journal *j = m->journal;
    if (!j)
        return;
    if (j->fd >= 0)
        (void)fdatasync(j->fd);
    close_fd(&j->fd);
    free(j);
    m->journal = NULL;
}
