/* What the tests of this room share: a folder for real trees, an importer of them, cmocka. */
#ifndef TEST_IMAGE_HARNESS_H
#define TEST_IMAGE_HARNESS_H

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/image/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

UNUSED static int new_fd(void)
{
    struct err err;
    int fd;
    assert_int_equal(os_memfd("image", 0, &fd, &err), OK);
    return fd;
}

UNUSED static struct img_writer *new_writer(int fd, const struct img_limits *limits)
{
    struct img_writer *w;
    struct err err;
    assert_int_equal(img_writer_new(fd, limits, &w, &err), OK);
    return w;
}

UNUSED static void add(struct img_writer *w, const struct img_entry *e)
{
    struct err err;
    if (img_writer_add(w, e, &err) != OK)
        fail_msg("%s: %s", e->path, err.text);
}

UNUSED static void add_file(struct img_writer *w, const char *path, const void *p, size_t n)
{
    struct err err;
    add(w, &(struct img_entry){.path = path, .mode = S_IFREG | 0644});
    if (img_writer_data(w, p, n, &err) != OK)
        fail_msg("%s: %s", path, err.text);
}

UNUSED static struct img_totals finish(struct img_writer *w)
{
    struct err err;
    struct img_totals t;
    if (img_writer_finish(w, &t, &err) != OK)
        fail_msg("%s", err.text);
    img_writer_free(w);
    return t;
}

UNUSED static struct img *open_image(int fd)
{
    struct err err;
    struct img *img;
    if (img_open(fd, &img, &err) != OK)
        fail_msg("%s", err.text);
    return img;
}

UNUSED static struct img_totals check(struct img *img)
{
    struct err err;
    struct img_totals t;
    if (img_check(img, NULL, &t, &err) != OK)
        fail_msg("%s", err.text);
    return t;
}

UNUSED static bool walk_to(struct img *img, const char *path, struct img_inode *out)
{
    struct err err;
    assert_int_equal(img_inode(img, img_root(img), out, &err), OK);
    for (size_t n; path += strspn(path, "/"), n = strcspn(path, "/"); path += n) {
        uint64_t nid;
        if (img_lookup(img, out, path, n, &nid, &err) != OK) {
            assert_int_equal(err.code, ERR_NOT_FOUND);
            return false;
        }
        assert_int_equal(img_inode(img, nid, out, &err), OK);
    }
    return true;
}

UNUSED static void run(const char *fmt, ...)
{
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int rc = system(text);
    if (rc)
        fail_msg("%s: %d", text, rc);
}

#endif
