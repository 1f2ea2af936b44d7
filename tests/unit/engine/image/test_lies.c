// links: engine/image engine/base
/* Images that lie: nothing crashes, nothing loops, and where the lie is told, it is named. */
#include "harness.h"

#define BLOCK 4096

/* A small tree with everything in it. */
static int honest(void)
{
    struct img_xattr x[] = {{"user.a", "value", 5}, {"security.b", "x", 1}};
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct err err;
    add_file(w, "a", "content", 7);
    add(w, &(struct img_entry){
               .path = "dir/sub", .mode = S_IFDIR | 0755, .xattrs = x, .xattr_count = 2});
    add(w,
        &(struct img_entry){.path = "dir/sub/link", .mode = S_IFLNK | 0777, .target = "../../a"});
    add(w, &(struct img_entry){.path = "dir/hard", .hardlink = "a"});
    add(w, &(struct img_entry){
               .path = "null", .mode = S_IFCHR | 0666, .rdev_major = 1, .rdev_minor = 3});
    for (int i = 0; i < 300; i++) {
        char path[60];
        snprintf(path, sizeof path, "many/a-rather-long-name-for-a-file-%d", i);
        add(w, &(struct img_entry){.path = path, .mode = S_IFREG | 0600});
        assert_int_equal(img_writer_data(w, path, (size_t)(i % 3), &err), OK);
    }
    finish(w);
    return fd;
}

static void use_everything(struct img *img)
{
    struct err err;
    struct img_inode i;
    struct img_totals t;
    char b[300];
    size_t n;
    (void)!img_check(img, NULL, &t, &err);
    for (uint64_t nid = 0; nid < 40; nid++) {
        uint64_t found, cursor = 0;
        struct img_dirent d;
        if (img_inode(img, nid, &i, &err) != OK)
            continue;
        (void)!img_readlink(img, &i, b, sizeof b, &n, &err);
        (void)!img_read(img, &i, i.size / 2, b, sizeof b, &n, &err);
        (void)!img_lookup(img, &i, "sub", 3, &found, &err);
        (void)!img_lookup(img, &i, "", 0, &found, &err);
        (void)!img_xattr_get(img, &i, "user.a", b, sizeof b, &n, &err);
        bool end = false;
        for (int k = 0; k < 50 && !end && img_readdir(img, &i, &cursor, &d, &end, &err) == OK; k++)
            assert_true(end || strlen(d.name) == d.name_bytes);
        cursor = UINT64_MAX - nid;
        (void)!img_readdir(img, &i, &cursor, &d, &end, &err);
    }
}

/* The superblock's checksum, so that lies behind it are reached. */
static void reseal(int fd)
{
    uint8_t b[BLOCK - 1024];
    uint32_t c = ~0u;
    assert_int_equal(pread(fd, b, sizeof b, 1024), sizeof b);
    memset(b + 4, 0, 4);
    for (size_t i = 0; i < sizeof b; i++) {
        c ^= b[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
    }
    assert_int_equal(pwrite(fd, &c, 4, 1028), 4);
}

static void random_lies_are_survived(void **state)
{
    struct rng r;
    int fd = honest();
    struct stat st;
    unsigned opened = 0, refused = 0;
    (void)state;
    assert_int_equal(fstat(fd, &st), 0);
    size_t n = (size_t)st.st_size;
    CLEANUP(free_ptr) uint8_t *good = malloc(n);
    assert_int_equal(pread(fd, good, n, 0), n);
    rng_seed(&r, 4);
    for (int i = 0; i < 1500; i++) {
        struct img *img;
        struct err err;
        struct img_totals t;
        for (unsigned k = 0; k <= rng_below(&r, 4); k++) {
            static const uint32_t odd[] = {0,      1,      2,          0x7f,       0xff,      0xfff,
                                           0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff};
            uint32_t x =
                rng_below(&r, 2) ? (uint32_t)rng_next(&r) : odd[rng_below(&r, ARRAY_LEN(odd))];
            /* Most into the superblock, directories and metadata at the end. */
            size_t at =
                rng_below(&r, 4) ? n - 1 - rng_below(&r, 24 * BLOCK) : 1024 + rng_below(&r, 128);
            (void)!pwrite(fd, &x, 1 + rng_below(&r, 4), (off_t)at);
        }
        reseal(fd);
        if (rng_below(&r, 20) == 0)
            assert_int_equal(ftruncate(fd, (off_t)rng_below(&r, n)), 0);
        if (img_open(fd, &img, &err) == OK) {
            opened++;
            refused += img_check(img, NULL, &t, &err) != OK;
            use_everything(img);
            img_close(img);
        } else {
            assert_true(strlen(err.text) > 5);
        }
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, good, n, 0), n);
    }
    assert_in_range(opened, 500, 1500);
    assert_in_range(refused, 300, 1500);
    close(fd);
}

static void patch(int fd, uint64_t at, const void *p, size_t n)
{
    assert_int_equal(pwrite(fd, p, n, (off_t)at), n);
    reseal(fd);
}

static void expect(int fd, const char *what)
{
    struct img *img;
    struct err err = {0};
    if (img_open(fd, &img, &err) == OK) {
        if (img_check(img, NULL, NULL, &err) == OK)
            fail_msg("taken, where '%s' was due", what);
        img_close(img);
    }
    assert_int_equal(err.code, ERR_BAD_IMAGE);
    if (!strstr(err.text, what))
        fail_msg("'%s' does not say '%s'", err.text, what);
    close(fd);
}

static uint64_t meta_of(int fd)
{
    uint32_t block;
    assert_int_equal(pread(fd, &block, 4, 1024 + 40), 4);
    return (uint64_t)block * BLOCK;
}

static uint64_t dir_of(int fd, const char *path)
{
    struct img_inode i;
    struct img *img = open_image(fd);
    assert_true(walk_to(img, path, &i));
    img_close(img);
    return i.data_offset;
}

static uint64_t inode_at(int fd, const char *path)
{
    struct img_inode i;
    struct img *img = open_image(fd);
    assert_true(walk_to(img, path, &i));
    img_close(img);
    return meta_of(fd) + i.nid * 32;
}

static void each_lie_is_named(void **state)
{
    uint32_t x;
    uint64_t y;
    int fd;
    (void)state;
    fd = honest();
    assert_int_equal(pwrite(fd, "x", 1, 2000), 1);
    expect(fd, "checksum");
    fd = honest();
    patch(fd, 1024, "nope", 4);
    expect(fd, "not an EROFS image");
    fd = honest();
    assert_int_equal(ftruncate(fd, 100), 0);
    expect(fd, "100 bytes");
    fd = honest();
    patch(fd, 1024 + 12, "\x0d", 1);
    expect(fd, "blocks of 2^13");
    fd = honest();
    patch(fd, 1024 + 80, "\1", 1);
    expect(fd, "features");
    fd = honest();
    patch(fd, 1024 + 36, "\xff\xff\xff", 3);
    expect(fd, "blocks");
    fd = honest();
    patch(fd, 1024 + 14, "\xff\xff", 2);
    expect(fd, "nid 65535");
    fd = honest();
    patch(fd, inode_at(fd, "") + 4, "\xa4\x81", 2);
    expect(fd, "no directory");
    fd = honest();
    y = UINT64_MAX - 10;
    patch(fd, inode_at(fd, "a") + 8, &y, 8);
    expect(fd, "content of nid");
    fd = honest();
    x = 0xfffffff0;
    patch(fd, inode_at(fd, "a") + 16, &x, 4);
    expect(fd, "content of nid");
    fd = honest();
    patch(fd, inode_at(fd, "a"), "\5", 1); /* inline data */
    expect(fd, "plain content");
    fd = honest();
    patch(fd, inode_at(fd, "a") + 4, "\0\0", 2);
    expect(fd, "no inode");
    fd = honest();
    patch(fd, inode_at(fd, "dir/sub/link") + 8, "\0\0", 2);
    expect(fd, "symbolic link");
    fd = honest();
    patch(fd, inode_at(fd, "a") + 44, "\7", 1);
    expect(fd, "says 7 links, 2 were found");
    fd = honest();
    patch(fd, inode_at(fd, "dir/sub") + 2, "\xff\xff", 2);
    expect(fd, "attributes");
    fd = honest();
    patch(fd, inode_at(fd, "dir/sub") + 64 + 12, "\xff", 1);
    expect(fd, "damaged attribute");
    fd = honest();
    patch(fd, inode_at(fd, "dir/sub") + 64 + 4, "\xff", 1);
    expect(fd, "shared attributes");
    fd = honest();
    patch(fd, dir_of(fd, "a") + 7, "x", 1);
    expect(fd, "padded");
    fd = honest();
    patch(fd, dir_of(fd, "many") + 8, "\0\0", 2);
    expect(fd, "no entries");
    fd = honest();
    patch(fd, dir_of(fd, "many") + 12 + 8, "\xff\xff", 2);
    expect(fd, "outside");
    fd = honest();
    patch(fd, dir_of(fd, "many") + 10, "\7", 1); /* "." is passed over, so take a file */
    patch(fd, dir_of(fd, "many") + 24 + 10, "\7", 1);
    expect(fd, "another type");
    fd = honest();
    x = 12345678;
    patch(fd, dir_of(fd, "many") + 24, &x, 4);
    expect(fd, "lies beyond its end");
    /* A directory inside itself, and one with two names. */
    fd = honest();
    y = (inode_at(fd, "dir") - meta_of(fd)) / 32;
    patch(fd, dir_of(fd, "dir/sub") + 24, &y, 8);
    patch(fd, dir_of(fd, "dir/sub") + 24 + 10, "\2", 1);
    expect(fd, "two names");
    fd = honest();
    y = (inode_at(fd, "dir") - meta_of(fd)) / 32;
    patch(fd, dir_of(fd, "dir/sub") + 12, &y, 8);
    patch(fd, dir_of(fd, "dir"), &y, 8); /* that is right */
    y++;
    patch(fd, dir_of(fd, "dir"), &y, 8);
    expect(fd, "leads elsewhere");
}

static void depth_and_entries_are_bounded(void **state)
{
    int fd = new_fd();
    struct img_limits wide = {.depth = 200}, narrow = {.depth = 100},
                      few = {.depth = 200, .entries = 100};
    struct img_writer *w = new_writer(fd, &wide);
    char path[600] = "";
    struct err err;
    (void)state;
    for (int i = 0; i < 150; i++)
        strcat(path, "d/");
    add(w, &(struct img_entry){.path = path, .mode = S_IFDIR | 0755});
    finish(w);
    struct img *img = open_image(fd);
    assert_int_equal(img_check(img, &wide, NULL, &err), OK);
    assert_int_equal(img_check(img, &narrow, NULL, &err), FAIL);
    assert_non_null(strstr(err.text, "levels"));
    assert_int_equal(img_check(img, &few, NULL, &err), FAIL);
    assert_non_null(strstr(err.text, "entries"));
    img_close(img);
    close(fd);
}

static void an_image_that_shrinks_while_it_is_open_is_an_error(void **state)
{
    int fd = honest();
    struct img *img = open_image(fd);
    struct img_inode i;
    struct err err;
    (void)state;
    assert_int_equal(ftruncate(fd, BLOCK), 0);
    assert_int_equal(img_inode(img, img_root(img), &i, &err), FAIL);
    assert_int_equal(err.code, ERR_BAD_IMAGE);
    img_close(img);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lies_are_survived),
        cmocka_unit_test(each_lie_is_named),
        cmocka_unit_test(depth_and_entries_are_bounded),
        cmocka_unit_test(an_image_that_shrinks_while_it_is_open_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
