/*
 * mkimage DIR IMAGE - an image of a host folder, with every file owned by root; for tests. vmctl does it for people.
 */
#include "engine/base/base.h"
#include "engine/image/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static _Noreturn void die(const char *path, const char *why)
{
    fprintf(stderr, "mkimage: %s: %s\n", path, why);
    exit(1);
}

static void copy_content(struct img_writer *w, const char *path)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    static char buf[1 << 16];
    struct err err;
    ssize_t n = -1;
    if (fd >= 0)
        while ((n = read(fd, buf, sizeof buf)) > 0)
            if (img_writer_data(w, buf, (size_t)n, &err) != OK)
                die(path, err.text);
    if (n < 0)
        die(path, strerror(errno));
}

static void add(struct img_writer *w, const FTSENT *e, size_t root_bytes)
{
    const struct stat *st = e->fts_statp;
    char target[4096];
    struct err err;
    struct img_entry entry = {
        .path = e->fts_path + root_bytes,
        .mode = st->st_mode,
        .mtime = st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
        .rdev_major = major(st->st_rdev),
        .rdev_minor = minor(st->st_rdev),
    };
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(e->fts_accpath, target, sizeof target - 1);
        if (n < 0)
            die(e->fts_path, strerror(errno));
        target[n] = 0;
        entry.target = target;
    }
    if (img_writer_add(w, &entry, &err) != OK)
        die(e->fts_path, err.text);
    if (S_ISREG(st->st_mode))
        copy_content(w, e->fts_accpath);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

int main(int argc, char **argv)
{
    struct img_writer *w;
    struct err err;
    if (argc != 3) {
        fprintf(stderr, "usage: mkimage DIR IMAGE\n");
        return 2;
    }
    int fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FTS *fts = fts_open((char *[]){argv[1], NULL}, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (fd < 0 || !fts)
        die(fd < 0 ? argv[2] : argv[1], strerror(errno));
    if (img_writer_new(fd, NULL, &w, &err) != OK)
        die(argv[2], err.text);
    size_t root_bytes = strlen(argv[1]);
    for (FTSENT *e; (e = fts_read(fts));) {
        if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
            die(e->fts_path, strerror(e->fts_errno));
        if (e->fts_info != FTS_DP)
            add(w, e, root_bytes);
    }
    if (img_writer_finish(w, NULL, &err) != OK)
        die(argv[2], err.text);
    img_writer_free(w);
    fts_close(fts);
    return close(fd) == 0 ? 0 : 1;
}
