// links: engine/image engine/base
/* Layers over layers, against a model that applies each layer's whiteouts first. */
#include "harness.h"

#define PATHS 200 /* of a tree with three names and three levels, and then some */
#define LAYERS 5

struct node {
    char path[16];
    char kind; /* d, f, l */
    char content[32];
};
struct tree {
    struct node all[PATHS];
    size_t count;
};

static struct node *find(struct tree *t, const char *path)
{
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->all[i].path, path))
            return &t->all[i];
    return NULL;
}

static bool below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return n == 0 || (!strncmp(path, dir, n) && path[n] == '/');
}

/* What is below path, and itself. */
static void drop(struct tree *t, const char *path, bool itself)
{
    size_t k = 0;
    for (size_t i = 0; i < t->count; i++)
        if (!below(t->all[i].path, path) && !(itself && !strcmp(t->all[i].path, path)))
            t->all[k++] = t->all[i];
    t->count = k;
}

static void put(struct tree *t, const struct node *n)
{
    struct node *there = find(t, n->path);
    if (there && !(there->kind == 'd' && n->kind == 'd')) {
        drop(t, n->path, true);
        there = NULL;
    }
    assert_true(there || t->count < PATHS);
    *(there ? there : &t->all[t->count++]) = *n;
}

static void grow(struct rng *r, struct tree *t, const char *dir, unsigned depth, unsigned layer)
{
    for (char c = 'a'; c <= 'c'; c++) {
        struct node n = {.kind = "ddfl."[rng_below(r, 5)]};
        if (n.kind == '.' || (n.kind == 'd' && depth == 3))
            continue;
        snprintf(n.path, sizeof n.path, "%.10s%s%c", dir, *dir ? "/" : "", c);
        snprintf(n.content, sizeof n.content, "%u %s", layer, n.path);
        t->all[t->count++] = n;
        if (n.kind == 'd')
            grow(r, t, n.path, depth + 1, layer);
    }
}

struct later {
    uint32_t id;
    char text[32];
};
static struct later contents[LAYERS * PATHS];
static size_t content_count;

static void write_node(struct img_writer *w, const struct node *n)
{
    struct err err;
    uint32_t id;
    struct img_entry e = {.path = n->path, .target = n->content};
    e.mode = n->kind == 'd' ? S_IFDIR | 0755 : n->kind == 'f' ? S_IFREG | 0644 : S_IFLNK | 0777;
    if (img_writer_add_later(w, &e, &id, &err) != OK)
        fail_msg("%s: %s", n->path, err.text);
    assert_int_equal(id != 0, n->kind != 'd');
    if (id) {
        contents[content_count].id = id;
        strcpy(contents[content_count++].text, n->content);
    }
}

/* Hide something in a directory of this layer, in the model and in the image. */
static void hide_in(struct rng *r, struct img_writer *w, struct tree *model, const char *dir)
{
    struct err err;
    char path[16];
    bool opaque = rng_below(r, 3) == 0;
    snprintf(path, sizeof path, "%.10s%s%c", dir, *dir ? "/" : "", 'a' + (int)rng_below(r, 3));
    if (img_writer_hide(w, opaque ? dir : path, opaque, &err) != OK)
        fail_msg("%s: %s", path, err.text);
    drop(model, opaque ? dir : path, !opaque);
}

static void one_layer(struct rng *r, struct img_writer *w, struct tree *model, unsigned layer)
{
    static struct tree mine;
    struct err err;
    mine.count = 0;
    grow(r, &mine, "", 1, layer);
    assert_int_equal(img_writer_layer(w, &err), OK);
    for (size_t i = 0; i <= mine.count; i++) {
        if (rng_below(r, 3) == 0) { /* between any two entries */
            const struct node *dir = i ? &mine.all[rng_below(r, i)] : NULL;
            hide_in(r, w, model, dir && dir->kind == 'd' ? dir->path : "");
        }
        if (i < mine.count)
            write_node(w, &mine.all[i]);
    }
    for (size_t i = 0; i < mine.count; i++)
        put(model, &mine.all[i]);
}

static void put_contents(struct img_writer *w)
{
    struct err err;
    for (size_t i = 0; i < content_count; i++) {
        bool wanted;
        assert_int_equal(img_writer_content(w, contents[i].id, &wanted, &err), OK);
        if (wanted)
            assert_int_equal(img_writer_data(w, contents[i].text, strlen(contents[i].text), &err),
                             OK);
    }
}

static size_t compare_dir(const struct img *img, uint64_t nid, const char *path, struct tree *model)
{
    struct err err;
    struct img_inode dir, i;
    struct img_dirent d;
    uint64_t cursor = 0;
    size_t seen = 0, n = 0;
    bool end;
    assert_int_equal(img_inode(img, nid, &dir, &err), OK);
    for (;;) {
        char sub[300], text[64] = "";
        assert_int_equal(img_readdir(img, &dir, &cursor, &d, &end, &err), OK);
        if (end)
            return seen;
        if (!strcmp(d.name, ".") || !strcmp(d.name, ".."))
            continue;
        snprintf(sub, sizeof sub, "%s%s%s", path, *path ? "/" : "", d.name);
        const struct node *want = find(model, sub);
        if (!want)
            fail_msg("%s should not be there", sub);
        assert_int_equal(img_inode(img, d.nid, &i, &err), OK);
        assert_int_equal(want->kind, S_ISDIR(i.mode) ? 'd' : S_ISREG(i.mode) ? 'f' : 'l');
        if (S_ISREG(i.mode))
            assert_int_equal(img_read(img, &i, 0, text, sizeof text - 1, &n, &err), OK);
        else if (S_ISLNK(i.mode))
            assert_int_equal(img_readlink(img, &i, text, sizeof text, &n, &err), OK);
        if (want->kind != 'd')
            assert_string_equal(text, want->content);
        seen++;
        if (S_ISDIR(i.mode))
            seen += compare_dir(img, d.nid, sub, model);
    }
}

static void random_layers_are_merged_as_the_model_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng r;
        static struct tree model;
        int fd = new_fd();
        struct img_writer *w = new_writer(fd, NULL);
        rng_seed(&r, seed);
        model.count = content_count = 0;
        unsigned layers = 1 + (unsigned)rng_below(&r, LAYERS);
        for (unsigned k = 1; k <= layers; k++)
            one_layer(&r, w, &model, k);
        put_contents(w);
        struct img_totals made = finish(w);
        struct img *img = open_image(fd);
        struct img_totals found = check(img);
        assert_int_equal(found.entries, made.entries);
        assert_int_equal(found.entries, model.count + 1);
        assert_int_equal(compare_dir(img, img_root(img), "", &model), model.count);
        img_close(img);
        close(fd);
    }
}

static void layer(struct img_writer *w)
{
    struct err err;
    assert_int_equal(img_writer_layer(w, &err), OK);
}

static uint32_t later(struct img_writer *w, const char *path, uint32_t mode, const char *hardlink)
{
    struct err err;
    uint32_t id;
    const struct img_entry e = {.path = path, .mode = mode, .hardlink = hardlink, .target = "t"};
    if (img_writer_add_later(w, &e, &id, &err) != OK)
        fail_msg("%s: %s", path, err.text);
    return id;
}

static void a_file_whose_first_name_is_hidden_lives_under_its_others(void **state)
{
    (void)state;
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct img_inode i;
    struct err err;
    uint64_t nid;
    bool wanted;
    layer(w);
    uint32_t id = later(w, "one", S_IFREG | 0600, NULL);
    later(w, "two", S_IFREG, "one");
    layer(w);
    assert_int_equal(img_writer_hide(w, "one", false, &err), OK);
    later(w, "dir/three", S_IFREG, "two");
    assert_int_equal(img_writer_content(w, id, &wanted, &err), OK);
    assert_true(wanted);
    assert_int_equal(img_writer_data(w, "x", 1, &err), OK);
    finish(w);
    struct img *img = open_image(fd);
    check(img);
    assert_int_equal(img_inode(img, img_root(img), &i, &err), OK);
    assert_int_equal(img_lookup(img, &i, "one", 3, &nid, &err), FAIL);
    assert_int_equal(img_lookup(img, &i, "two", 3, &nid, &err), OK);
    assert_int_equal(img_inode(img, nid, &i, &err), OK);
    assert_int_equal(i.nlink, 2);
    img_close(img);
    close(fd);
}

static void content_of_what_is_gone_is_not_wanted(void **state)
{
    (void)state;
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct err err;
    bool wanted = true;
    layer(w);
    uint32_t a = later(w, "d/a", S_IFREG | 0600, NULL), b = later(w, "b", S_IFLNK | 0777, NULL);
    layer(w);
    assert_int_equal(img_writer_hide(w, "d", false, &err), OK);
    later(w, "b", S_IFIFO | 0600, NULL);
    assert_int_equal(img_writer_content(w, a, &wanted, &err), OK);
    assert_false(wanted);
    assert_int_equal(img_writer_content(w, b, &wanted, &err), OK);
    assert_false(wanted);
    struct img_totals t = finish(w);
    assert_int_equal(t.inodes, 2);
    assert_int_equal(t.data_bytes, 0);
    struct img *img = open_image(fd);
    check(img);
    img_close(img);
    close(fd);
}

static void what_is_twice_in_a_layer_is_refused(void **state)
{
    (void)state;
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct err err;
    uint32_t id;
    layer(w);
    later(w, "d/x", S_IFREG | 0600, NULL);
    layer(w);
    later(w, "d/y", S_IFREG | 0600, NULL);
    const struct img_entry again = {.path = "d/y", .mode = S_IFREG},
                           over = {.path = "d", .mode = S_IFREG},
                           beneath = {.path = "d/x/z", .mode = S_IFREG};
    assert_int_equal(img_writer_add_later(w, &again, &id, &err), FAIL);
    assert_int_equal(err.code, ERR_EXISTS);
    assert_int_equal(img_writer_add_later(w, &beneath, &id, &err), FAIL);
    assert_int_equal(img_writer_add_later(w, &over, &id, &err), FAIL);
    assert_int_equal(err.code, ERR_EXISTS);
    img_writer_free(w);
    close(fd);
}

static void limits_count_what_layers_replaced_too(void **state)
{
    (void)state;
    int fd = new_fd();
    const struct img_limits limits = {.entries = 10};
    struct img_writer *w = new_writer(fd, &limits);
    struct err err;
    uint32_t id;
    unsigned k = 0;
    const struct img_entry e = {.path = "x", .mode = S_IFREG};
    do
        layer(w);
    while (++k < 100 && img_writer_add_later(w, &e, &id, &err) == OK);
    assert_in_range(k, 10, 21);
    assert_int_equal(err.code, ERR_LIMIT);
    img_writer_free(w);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_layers_are_merged_as_the_model_says),
        cmocka_unit_test(a_file_whose_first_name_is_hidden_lives_under_its_others),
        cmocka_unit_test(content_of_what_is_gone_is_not_wanted),
        cmocka_unit_test(what_is_twice_in_a_layer_is_refused),
        cmocka_unit_test(limits_count_what_layers_replaced_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
