#include "daemon/import/tar.h"
#include "engine/base/base.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const uint8_t zeros[65536];

static la_ssize_t feed(struct archive *a, void *ctx, const void **p)
{
    struct imp_tar *t = ctx;
    size_t n;
    if (t->in->read(t->in, p, &n, &t->err)) {
        archive_set_error(a, EIO, "%s", t->err.text);
        return -1;
    }
    const uint8_t *bytes = *p;
    size_t zero = 0;
    while (zero < n && !bytes[n - 1 - zero])
        zero++;
    t->zero_bytes = zero == n ? t->zero_bytes + n : zero;
    t->bytes += n;
    t->all_came = n == 0;
    if (n == 0 && t->pad && t->bytes % 512) {
        n = 512 - t->bytes % 512;
        t->bytes += n;
        *p = zeros;
    }
    return (la_ssize_t)n;
}

bool imp_tar_ended(const struct imp_tar *t)
{
    return !t->all_came || t->zero_bytes >= 512;
}

static res_code_t damaged(struct imp_tar *t, struct err *err)
{
    const char *why = archive_error_string(t->archive);
    if (t->err.code) {
        *err = t->err;
        return FAIL;
    }
    if (archive_errno(t->archive) == ENOMEM)
        return err_set(err, ERR_NO_MEMORY, "no memory for the member behind \"%s\"", t->name);
    if (!t->members)
        return err_set(err, ERR_INVALID,
                       "not a tar archive, plain or compressed with gzip, xz or zstd: %.150s",
                       why ? why : "damaged");
    return err_set(err, ERR_INVALID, "damaged archive at or behind \"%s\": %.150s", t->name,
                   why ? why : "damaged");
}

/* Nothing is skipped by seeking: all bytes come by. */
res_t imp_tar_init(struct imp_tar *t, struct imp_stream *in, struct err *err)
{
    *t = (struct imp_tar){.in = in, .archive = archive_read_new(), .err = {.code = ERR_OK}};
    if (!t->archive)
        return err_set(err, ERR_NO_MEMORY, "no memory to read an archive with");
    archive_read_support_format_tar(t->archive);
    if (archive_read_open(t->archive, t, NULL, feed, NULL) == ARCHIVE_OK)
        return OK;
    return damaged(t, err);
}

void imp_tar_fini(struct imp_tar *t)
{
    archive_read_free(t->archive);
    t->archive = NULL;
}

const char *imp_tar_name(const struct imp_tar *t)
{
    return t->name;
}

static res_code_t take_xattrs(struct archive_entry *e, struct imp_member *m, struct err *err)
{
    static const char *const known[] = {"user.", "trusted.", "security.", "system."};
    const char *name;
    const void *value;
    size_t n;
    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
        bool keep = false, again = false;
        for (size_t i = 0; name && i < ARRAY_LEN(known); i++)
            keep |= !strncmp(name, known[i], strlen(known[i]));
        for (size_t i = 0; keep && i < m->entry.xattr_count; i++)
            again |= !strcmp(name, m->xattrs[i].name); /* written in two ways */
        if (!keep || again)
            continue;
        if (m->entry.xattr_count == IMP_XATTRS_MAX)
            return err_set(err, ERR_LIMIT, "%.200s: more than %d extended attributes",
                           m->entry.path, IMP_XATTRS_MAX);
        m->xattrs[m->entry.xattr_count++] = (struct img_xattr){name, value, n};
    }
    return OK;
}

/* ---- access control lists, from text into the form of attributes: version 2, then {tag, permissions, id} sorted ---- */

struct acl_entry {
    uint16_t tag, permissions;
    uint32_t id;
};

static int by_tag(const void *a, const void *b)
{
    const struct acl_entry *x = a, *y = b;
    if (x->tag != y->tag)
        return x->tag < y->tag ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static res_code_t read_acl(struct archive_entry *e, int type, const char *path,
                           struct acl_entry all[IMP_ACL_MAX], size_t *count, struct err *err)
{
    static const struct {
        int theirs;
        uint16_t ours;
    } tags[] = {{ARCHIVE_ENTRY_ACL_USER_OBJ, 0x01},  {ARCHIVE_ENTRY_ACL_USER, 0x02},
                {ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0x04}, {ARCHIVE_ENTRY_ACL_GROUP, 0x08},
                {ARCHIVE_ENTRY_ACL_MASK, 0x10},      {ARCHIVE_ENTRY_ACL_OTHER, 0x20}};
    int t, permissions, tag, id;
    const char *name;
    archive_entry_acl_reset(e, type);
    while (archive_entry_acl_next(e, type, &t, &permissions, &tag, &id, &name) == ARCHIVE_OK) {
        struct acl_entry one = {.permissions = (uint16_t)(permissions & 7), .id = UINT32_MAX};
        bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
        for (size_t i = 0; i < ARRAY_LEN(tags); i++)
            if (tags[i].theirs == tag)
                one.tag = tags[i].ours;
        if (*count == IMP_ACL_MAX)
            return err_set(err, ERR_LIMIT, "%.200s: an access control list of more than %d entries",
                           path, IMP_ACL_MAX);
        if (!one.tag || (named && id < 0))
            return err_set(err, ERR_INVALID,
                           "%.150s: its access control list names \"%.60s\" "
                           "without a number",
                           path, name ? name : "");
        if (named)
            one.id = (uint32_t)id;
        all[(*count)++] = one;
    }
    return OK;
}

static res_code_t take_acl(struct archive_entry *e, struct imp_member *m, int which,
                           struct err *err)
{
    static const int types[] = {ARCHIVE_ENTRY_ACL_TYPE_ACCESS, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT};
    static const char *const names[] = {"system.posix_acl_access", "system.posix_acl_default"};
    struct acl_entry all[IMP_ACL_MAX];
    uint8_t *out = m->acl[which];
    size_t count = 0;
    if (archive_entry_acl_count(e, types[which]) == 0)
        return OK;
    for (size_t i = 0; i < m->entry.xattr_count; i++)
        if (!strcmp(m->xattrs[i].name, names[which]))
            return OK;
    if (m->entry.xattr_count == IMP_XATTRS_MAX)
        return err_set(err, ERR_LIMIT, "%.200s: more than %d extended attributes", m->entry.path,
                       IMP_XATTRS_MAX);
    if (read_acl(e, types[which], m->entry.path, all, &count, err))
        return FAIL;
    qsort(all, count, sizeof all[0], by_tag);
    memcpy(out, (const uint8_t[]){2, 0, 0, 0}, 4);
    memcpy(out + 4, all, count * sizeof all[0]);
    m->xattrs[m->entry.xattr_count++] =
        (struct img_xattr){names[which], out, 4 + count * sizeof all[0]};
    return OK;
}

static bool has_dot_dot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")); p += 2)
        if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
            return true;
    return false;
}

static res_code_t check_numbers(struct archive_entry *e, struct imp_member *m, struct err *err)
{
    la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e), size = archive_entry_size(e);
    dev_t major = archive_entry_rdevmajor(e), minor = archive_entry_rdevminor(e);
    bool device = S_ISCHR(m->entry.mode) || S_ISBLK(m->entry.mode);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return err_set(err, ERR_INVALID, "%.200s: owner %lld:%lld is out of range", m->entry.path,
                       (long long)uid, (long long)gid);
    if (size < 0)
        return err_set(err, ERR_INVALID, "%.200s: size %lld", m->entry.path, (long long)size);
    if (device && (major > UINT32_MAX || minor > UINT32_MAX))
        return err_set(err, ERR_INVALID, "%.200s: a device number is out of range", m->entry.path);
    m->entry.uid = (uint32_t)uid;
    m->entry.gid = (uint32_t)gid;
    m->size = S_ISREG(m->entry.mode) && !m->entry.hardlink ? (uint64_t)size : 0;
    m->entry.rdev_major = device ? (uint32_t)major : 0;
    m->entry.rdev_minor = device ? (uint32_t)minor : 0;
    m->entry.mtime = archive_entry_mtime(e);
    m->entry.mtime_ns = (uint32_t)archive_entry_mtime_nsec(e);
    return OK;
}

res_t imp_tar_member(struct archive_entry *e, struct imp_member *m, struct err *err)
{
    const char *path = archive_entry_pathname(e), *link = archive_entry_hardlink(e);
    m->entry = (struct img_entry){.path = path, .hardlink = link, .xattrs = m->xattrs};
    if (!path)
        return err_set(err, ERR_INVALID, "a member without a name");
    m->absolute = path[0] == '/';
    if (has_dot_dot(path))
        return err_set(err, ERR_INVALID, "%.200s: a name with '..' leads out of the tree", path);
    if (link && has_dot_dot(link))
        return err_set(err, ERR_INVALID, "%.150s: its link to %.150s leads out of the tree", path,
                       link);
    m->entry.mode = (uint32_t)archive_entry_filetype(e) | (uint32_t)archive_entry_perm(e);
    if (link) {
        m->entry.mode = S_IFREG;
    } else if (archive_entry_filetype(e) == AE_IFLNK) {
        m->entry.target = archive_entry_symlink(e);
        m->entry.mode = S_IFLNK | 0777;
    }
    if (check_numbers(e, m, err) || take_xattrs(e, m, err))
        return FAIL;
    return take_acl(e, m, 0, err) || take_acl(e, m, 1, err) ? FAIL : OK;
}

bool imp_member_is_file(const struct imp_member *m)
{
    return S_ISREG(m->entry.mode) && !m->entry.hardlink;
}

res_t imp_tar_next(struct imp_tar *t, struct imp_member *m, bool *end, struct err *err)
{
    int rc = archive_read_next_header(t->archive, &t->entry);
    *end = rc == ARCHIVE_EOF;
    if (*end)
        return OK;
    const char *why = rc == ARCHIVE_WARN ? archive_error_string(t->archive) : NULL;
    /* Of a name that is no UTF-8 its bytes are taken. */
    if (rc != ARCHIVE_OK && !(why && strstr(why, "can't be converted")))
        return damaged(t, err);
    const char *path = archive_entry_pathname(t->entry);
    snprintf(t->name, sizeof t->name, "%s", path ? path : "(no name)");
    t->members++;
    if (imp_tar_member(t->entry, m, err))
        return FAIL;
    t->size = m->size;
    t->content = imp_member_is_file(m);
    t->at = t->block_at = 0;
    t->block_bytes = 0;
    t->eof = false;
    return OK;
}

static res_code_t next_block(struct imp_tar *t, struct err *err)
{
    la_int64_t offset;
    int rc = archive_read_data_block(t->archive, &t->block, &t->block_bytes, &offset);
    if (rc == ARCHIVE_EOF) {
        t->eof = true;
        t->block_bytes = 0;
        t->block_at = t->size;
        return OK;
    }
    if (rc != ARCHIVE_OK)
        return damaged(t, err);
    if (offset < 0 || (uint64_t)offset < t->at || (uint64_t)offset > t->size ||
        t->block_bytes > t->size - (uint64_t)offset)
        return err_set(err, ERR_INVALID, "%s: its pieces overlap or lie outside", t->name);
    t->block_at = (uint64_t)offset;
    return OK;
}

res_t imp_tar_data(struct imp_tar *t, const void **p, size_t *n, struct err *err)
{
    *n = 0;
    while (t->content && !*n && t->at < t->size) {
        if (!t->block_bytes && !t->eof && t->at >= t->block_at && next_block(t, err))
            return FAIL;
        if (t->at < t->block_at) {
            *p = zeros;
            *n = (size_t)MIN(t->block_at - t->at, (uint64_t)sizeof zeros);
        } else if (t->block_bytes) {
            *p = t->block;
            *n = t->block_bytes;
            t->block_bytes = 0;
        }
        t->at += *n;
    }
    return OK;
}
