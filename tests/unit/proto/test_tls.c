// links: proto engine/base
/* TLS of both sides against each other, without a socket; certificates by the openssl program. */
#include "proto/tls.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static char dir[] = "/tmp/vv-tls-XXXXXX";
static char paths[8][64];

static void sh(const char *fmt, const char *a, const char *b, const char *c)
{
    char command[600];
    int n = snprintf(command, sizeof command, "cd %s && ", dir);
    char format[500];
    snprintf(format, sizeof format, "%s", fmt);
    for (const char *p = format; *p && n < (int)sizeof command - 64; p++) /* %1 %2 %3 */
        if (*p == '%' && p[1] >= '1' && p[1] <= '3')
            n += snprintf(command + n, sizeof command - (size_t)n, "%s",
                          *++p == '1' ? a
                          : *p == '2' ? b
                                      : c);
        else
            command[n++] = *p;
    command[n] = 0;
    assert_int_equal(system(command), 0);
}

static void ca(const char *name)
{
    sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%1 "
       "-keyout %1.key -out %1.crt "
       "2>/dev/null",
       name, "", "");
}

static void sign(const char *name, const char *by, const char *san)
{
    sh("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cn-%1 -keyout "
       "%1.key -out %1.csr 2>/dev/null && "
       "printf subjectAltName=%3 >%1.ext && openssl x509 -req -in %1.csr -CA %2.crt -CAkey %2.key "
       "-CAcreateserial -days 2 "
       "-extfile %1.ext -out %1.crt 2>/dev/null",
       name, by, san);
}

static int make_certificates(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    ca("ca");
    ca("other");
    sign("server", "ca", "DNS:vmd.example,IP:127.0.0.1");
    sign("client", "ca", "DNS:a.example,DNS:b.example");
    sign("stranger", "other", "DNS:a.example");
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static const char *path(int slot, const char *name, const char *suffix)
{
    snprintf(paths[slot], sizeof paths[slot], "%s/%s.%s", dir, name, suffix);
    return paths[slot];
}

static struct pb_tls *side(bool server, const char *name, const char *trusts, const char *expects)
{
    struct pb_tls_files f = {path(0, name, "crt"), path(1, name, "key"), path(2, trusts, "crt")};
    struct pb_tls_context *ctx;
    struct pb_tls *t;
    struct err err;
    if (pb_tls_context_new(server, &f, &ctx, &err))
        fail_msg("%s", err.text);
    assert_int_equal(pb_tls_new(ctx, expects, &t, &err), OK);
    pb_tls_context_free(ctx); /* the connection keeps what it needs */
    return t;
}

struct pair {
    struct pb_tls *server, *client;
    struct buf at_server, at_client; /* plain bytes that came */
    struct err err;
    struct rng rng;
};

/* Carry what `from` has to say, in random pieces. */
static res_code_t carry_one(struct pair *p, struct pb_tls *from, struct pb_tls *to,
                            struct buf *plain, bool *any)
{
    CLEANUP(buf_fini) struct buf wire = {0};
    pb_tls_take(from, &wire);
    *any |= wire.len > 0;
    for (size_t at = 0; at < wire.len;) {
        size_t most = 1 + rng_below(&p->rng, 3000), n = MIN(wire.len - at, most);
        if (pb_tls_recv(to, wire.data + at, n, plain, &p->err))
            return FAIL;
        at += n;
    }
    return OK;
}

static res_code_t carry(struct pair *p)
{
    for (bool any = true; any;) {
        any = false;
        if (carry_one(p, p->client, p->server, &p->at_server, &any) ||
            carry_one(p, p->server, p->client, &p->at_client, &any))
            return FAIL;
    }
    return OK;
}

static void done(struct pair *p)
{
    pb_tls_free(p->server);
    pb_tls_free(p->client);
    buf_fini(&p->at_server);
    buf_fini(&p->at_client);
}

static bool is_wanted(void *ctx, const char *name)
{
    const char **wanted = ctx;
    return !strcmp(name, *wanted);
}

static void both_sides_know_each_other_and_bytes_arrive(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    struct pair p = {side(true, "server", "ca", NULL), side(false, "client", "ca", "vmd.example")};
    rng_seed(&p.rng, 3);
    assert_false(pb_tls_ready(p.server));
    assert_int_equal(carry(&p), OK);
    assert_true(pb_tls_ready(p.server) && pb_tls_ready(p.client));
    static const char *const names[] = {"a.example", "b.example", "cn-client"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        const char *wanted = names[i];
        assert_true(pb_tls_peer_names(p.server, is_wanted, &wanted));
    }
    const char *nobody = "c.example";
    assert_false(pb_tls_peer_names(p.server, is_wanted, &nobody));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    assert_int_equal(pb_tls_send(p.client, bytes, sizeof bytes, NULL), OK);
    assert_int_equal(pb_tls_send(p.server, bytes, 10, NULL), OK);
    assert_int_equal(carry(&p), OK);
    assert_int_equal(p.at_server.len, sizeof bytes);
    assert_memory_equal(p.at_server.data, bytes, sizeof bytes);
    assert_int_equal(p.at_client.len, 10);
    done(&p);
}

static void a_server_may_be_known_by_its_address(void **state)
{
    (void)state;
    struct pair p = {side(true, "server", "ca", NULL), side(false, "client", "ca", "127.0.0.1")};
    assert_int_equal(carry(&p), OK);
    assert_true(pb_tls_ready(p.client));
    done(&p);
}

static void the_wrong_server_the_wrong_ca_and_the_wrong_client_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *client, *client_trusts, *server_trusts, *expects;
    } cases[] = {{"client", "ca", "ca", "other.example"},
                 {"client", "other", "ca", "vmd.example"},
                 {"stranger", "ca", "ca", "vmd.example"}};
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p = {side(true, "server", cases[i].server_trusts, NULL),
                         side(false, cases[i].client, cases[i].client_trusts, cases[i].expects)};
        assert_int_equal(carry(&p), FAIL);
        assert_int_equal(p.err.code, ERR_UNAUTHENTICATED);
        assert_false(pb_tls_ready(p.server));
        assert_int_equal(p.at_server.len, 0);
        done(&p);
    }
}

static void noise_is_refused_wherever_it_comes(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 300; i++) {
        struct pair p = {side(true, "server", "ca", NULL),
                         side(false, "client", "ca", "vmd.example")};
        CLEANUP(buf_fini) struct buf wire = {0};
        p.rng = r;
        if (i % 3 == 0)
            assert_int_equal(carry(&p), OK);
        pb_tls_take(p.client, &wire);
        if (!wire.len) {
            assert_int_equal(pb_tls_send(p.client, "hello", 5, NULL), OK);
            pb_tls_take(p.client, &wire);
        }
        for (unsigned k = 0; k <= rng_below(&r, 4); k++)
            wire.data[rng_below(&r, wire.len)] ^= (uint8_t)(1 + rng_below(&r, 255));
        size_t before = p.at_server.len;
        if (pb_tls_recv(p.server, wire.data, wire.len, &p.at_server, &p.err))
            assert_true(p.err.text[0]);
        else if (i % 3 == 0) /* a length that waits for more; never bytes that were not sent */
            assert_int_equal(p.at_server.len, before);
        done(&p);
    }
}

static void files_that_do_not_fit_are_named(void **state)
{
    (void)state;
    struct pb_tls_context *ctx;
    struct err err;
    struct pb_tls_files f = {path(0, "server", "crt"), path(1, "client", "key"),
                             path(2, "ca", "crt")};
    assert_int_equal(pb_tls_context_new(true, &f, &ctx, &err), FAIL);
    assert_non_null(strstr(err.text, "client.key"));
    f.key = path(1, "server", "key");
    f.ca = path(2, "none", "crt");
    assert_int_equal(pb_tls_context_new(true, &f, &ctx, &err), FAIL);
    assert_non_null(strstr(err.text, "none.crt"));
    f.ca = NULL;
    assert_int_equal(pb_tls_context_new(true, &f, &ctx, &err), FAIL);
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_know_each_other_and_bytes_arrive),
        cmocka_unit_test(a_server_may_be_known_by_its_address),
        cmocka_unit_test(the_wrong_server_the_wrong_ca_and_the_wrong_client_are_refused),
        cmocka_unit_test(noise_is_refused_wherever_it_comes),
        cmocka_unit_test(files_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
