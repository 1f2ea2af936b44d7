// links: daemon/manager proto engine/base
/* The store of images: tenants, names, quotas, what survives. */
#include "daemon/manager/image.h"
#include "engine/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static char folder[64];
static struct mgr m;
static struct mgr_options options;
static struct mgr_tenant_config configs[2];
static struct mgr_tenant *anna, *bert;

static void digest_of(unsigned n, char out[MGR_DIGEST_CHARS])
{
    snprintf(out, MGR_DIGEST_CHARS, "sha256-%064x", n);
}

static void make_file(unsigned n, size_t bytes)
{
    char digest[MGR_DIGEST_CHARS], file[MGR_IMAGE_FILE_CHARS], path[PB_PATH_MAX];
    digest_of(n, digest);
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_path(&m, file, path, sizeof path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), (off_t)bytes), 0);
    fclose(f);
}

static bool is_there(const char *file)
{
    char path[PB_PATH_MAX];
    mgr_image_path(&m, file, path, sizeof path);
    return access(path, F_OK) == 0;
}

static void open_store(void)
{
    struct err err;
    m = (struct mgr){.opt = &options, .loop = uv_default_loop()};
    list_init(&m.tenants);
    for (unsigned t = 0; t < 2; t++) {
        strcpy(configs[t].name, t ? "bert" : "anna");
        configs[t].quota[MGR_QUOTA_IMAGES] = 3;
        configs[t].quota[MGR_QUOTA_DISK] = 100000;
    }
    assert_int_equal(mgr_tenants_configure(&m, configs, 2, &err), OK);
    anna = mgr_tenant_find(&m, "anna");
    bert = mgr_tenant_find(&m, "bert");
    if (mgr_images_init(&m, &err))
        fail_msg("%s", err.text);
}

static void close_store(void)
{
    uv_run(m.loop, UV_RUN_DEFAULT);
    mgr_images_fini(&m);
    mgr_tenants_fini(&m);
}

static void reopen(void)
{
    close_store();
    open_store();
}

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/vv-images-XXXXXX");
    options.state = mkdtemp(folder);
    open_store();
    return options.state ? 0 : -1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    close_store();
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static struct mgr_image_owner *have(struct mgr_tenant *t, unsigned n, size_t bytes,
                                    const char *name)
{
    char digest[MGR_DIGEST_CHARS];
    struct mgr_image_owner *o;
    struct err err;
    digest_of(n, digest);
    make_file(n, bytes);
    if (mgr_image_add(&m, t, digest, bytes, &o, &err) || mgr_image_name(&m, o, name, &err))
        fail_msg("%s", err.text);
    return o;
}

static bool resolves(struct mgr_tenant *t, const char *name)
{
    char digest[MGR_DIGEST_CHARS];
    struct err err;
    bool yes = !mgr_image_resolve(&m, t, name, digest, &err);
    assert_true(yes || err.code == ERR_NOT_FOUND);
    return yes;
}

static unsigned commits_done;
static void on_done(struct mgr_image_commit *c, const struct err *err)
{
    (void)c;
    assert_null(err);
    commits_done++;
}

static void commit(void)
{
    struct mgr_image_commit c = {.done = on_done};
    unsigned before = commits_done;
    mgr_images_commit(&m, &c);
    while (commits_done == before)
        uv_run(m.loop, UV_RUN_ONCE);
}

static void another_tenants_names_and_digests_are_not_found(void **state)
{
    (void)state;
    char digest[MGR_DIGEST_CHARS];
    have(anna, 1, 100, "web");
    digest_of(1, digest);
    assert_true(resolves(anna, "web") && resolves(anna, digest));
    assert_false(resolves(bert, "web") || resolves(bert, digest));
    assert_null(mgr_image_config(&m, bert, digest));
    assert_false(mgr_image_hold(&m, bert, digest));
    have(bert, 1, 100, "web");
    have(bert, 2, 100, "web"); /* the name moves: only bert's */
    char got[MGR_DIGEST_CHARS];
    assert_int_equal(mgr_image_resolve(&m, anna, "web", got, NULL), OK);
    assert_string_equal(got, digest);
}

static void a_file_goes_with_its_last_owner(void **state)
{
    (void)state;
    char digest[MGR_DIGEST_CHARS], file[MGR_IMAGE_FILE_CHARS];
    struct mgr_image_owner *a = have(anna, 1, 100, "x"), *b = have(bert, 1, 100, "y");
    digest_of(1, digest);
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_remove(&m, a);
    mgr_image_sweep(&m, digest);
    assert_true(is_there(file));
    assert_false(resolves(anna, "x"));
    assert_true(resolves(bert, "y"));
    mgr_image_remove(&m, b);
    mgr_image_sweep(&m, digest);
    assert_false(is_there(file));
}

static void each_image_counts_once_in_its_tenants_quotas(void **state)
{
    (void)state;
    struct mgr_image_owner *o, *a = have(anna, 1, 60000, "x");
    struct err err;
    char digest[MGR_DIGEST_CHARS];
    have(anna, 1, 60000, "again");
    assert_int_equal(anna->used[MGR_QUOTA_IMAGES], 1);
    assert_int_equal(anna->used[MGR_QUOTA_DISK], 60000);
    assert_int_equal(bert->used[MGR_QUOTA_DISK], 0);
    digest_of(2, digest);
    assert_int_equal(mgr_image_add(&m, anna, digest, 60000, &o, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(anna->used[MGR_QUOTA_IMAGES], 1);
    have(anna, 3, 1, "c");
    have(anna, 4, 1, "d");
    assert_int_equal(mgr_image_add(&m, anna, digest, 1, &o, &err), FAIL);
    mgr_image_remove(&m, a);
    assert_int_equal(anna->used[MGR_QUOTA_DISK], 2);
    assert_int_equal(anna->used[MGR_QUOTA_IMAGES], 2);
}

static void what_was_committed_is_there_after_a_restart(void **state)
{
    (void)state;
    char digest[MGR_DIGEST_CHARS], path[PB_PATH_MAX];
    static const char *const words[] = {"/bin/app", "-x"};
    PbImageConfig config = PB_IMAGE_CONFIG__INIT;
    struct err err;
    uint8_t packed[200];
    struct mgr_image_owner *a = have(anna, 1, 5000, "x");
    have(bert, 1, 5000, "y");
    a->entries = 17;
    config.n_entrypoint = 2;
    config.entrypoint = (char **)(uintptr_t)words;
    size_t n = pb_image_config__pack(&config, packed);
    mgr_image_path(&m, "config-1", path, sizeof path);
    assert_int_equal(mgr_image_config_write(path, packed, n, &err), OK);
    assert_int_equal(mgr_image_configure(a, "config-1", packed, n, &err), OK);
    commit();
    have(anna, 2, 10, "not-committed");
    reopen();
    digest_of(1, digest);
    assert_true(resolves(anna, "x") && resolves(bert, "y"));
    assert_false(resolves(anna, "not-committed"));
    assert_int_equal(anna->used[MGR_QUOTA_DISK], 5000);
    assert_int_equal(mgr_image_find(&m, anna, digest)->entries, 17);
    const PbImageConfig *c = mgr_image_config(&m, anna, digest);
    assert_non_null(c);
    assert_string_equal(c->entrypoint[1], "-x");
    assert_null(mgr_image_config(&m, bert, digest)); /* the same files, another configuration */
    digest_of(2, digest);
    char file[MGR_IMAGE_FILE_CHARS];
    snprintf(file, sizeof file, "%s.erofs", digest);
    assert_false(is_there(file)); /* nobody was told that it is there */
}

static void guests_hold_an_image_of_their_tenant(void **state)
{
    (void)state;
    char digest[MGR_DIGEST_CHARS];
    struct mgr_image_owner *a = have(anna, 1, 100, "x"), *b = have(bert, 1, 100, "x");
    digest_of(1, digest);
    assert_true(mgr_image_hold(&m, anna, digest) && mgr_image_hold(&m, anna, digest));
    assert_int_equal(a->guests, 2);
    assert_int_equal(b->guests, 0);
    mgr_image_release(&m, anna, digest);
    mgr_image_release(&m, anna, digest);
    mgr_image_release(&m, anna, digest); /* of an image that it did not get */
    assert_int_equal(a->guests, 0);
}

static void many_commits_are_one_write_and_all_are_told(void **state)
{
    (void)state;
    static struct mgr_image_commit all[50];
    unsigned before = commits_done;
    have(anna, 1, 100, "x");
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        all[i].done = on_done;
        mgr_images_commit(&m, &all[i]);
    }
    uv_run(m.loop, UV_RUN_DEFAULT);
    assert_int_equal(commits_done - before, ARRAY_LEN(all));
    reopen();
    assert_true(resolves(anna, "x"));
}

static void a_damaged_index_is_refused_and_costs_nothing(void **state)
{
    static const char *const lines[] = {
        "vmd images 3\n",
        "",
        "vmd images 2\nimage anna sha256-12 0 0 -\n",
        "vmd images 2\nname anna x\n",
        "vmd images 2\nimage ../anna sha256-"
        "0000000000000000000000000000000000000000000000000000000000000001 0 0 -\n",
        "vmd images 2\nimage anna sha256-"
        "0000000000000000000000000000000000000000000000000000000000000001 0 0 ../../etc/passwd\n"};
    (void)state;
    char path[PB_PATH_MAX], file[MGR_IMAGE_FILE_CHARS], digest[MGR_DIGEST_CHARS];
    struct err err;
    have(anna, 1, 100, "x");
    commit();
    digest_of(1, digest);
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_path(&m, "index", path, sizeof path);
    for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
        mgr_images_fini(&m);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(lines[i], f);
        fclose(f);
        assert_int_equal(mgr_images_init(&m, &err), FAIL);
        assert_non_null(strstr(err.text, "index:"));
        assert_true(is_there(file));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_tenants_names_and_digests_are_not_found, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_file_goes_with_its_last_owner, begin, end),
        cmocka_unit_test_setup_teardown(each_image_counts_once_in_its_tenants_quotas, begin, end),
        cmocka_unit_test_setup_teardown(what_was_committed_is_there_after_a_restart, begin, end),
        cmocka_unit_test_setup_teardown(guests_hold_an_image_of_their_tenant, begin, end),
        cmocka_unit_test_setup_teardown(many_commits_are_one_write_and_all_are_told, begin, end),
        cmocka_unit_test_setup_teardown(a_damaged_index_is_refused_and_costs_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
