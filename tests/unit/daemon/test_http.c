// links: daemon/manager proto engine/base
/* Requests of scrapers, and of others. */
#include "daemon/manager/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static unsigned parse(const char *s, struct mgr_http_request *r)
{
    memset(r, 0, sizeof *r);
    return mgr_http_parse(s, strlen(s), true, r);
}

static void a_scraper_is_understood(void **state)
{
    (void)state;
    struct mgr_http_request r;
    assert_int_equal(
        parse("GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\nAccept: */*\r\n\r\n", &r), 200);
    assert_string_equal(r.path, "/metrics");
    assert_false(r.head);
    assert_int_equal(parse("HEAD /healthz?x=1 HTTP/1.0\nhost: 127.0.0.1\n\n", &r), 200);
    assert_string_equal(r.path, "/healthz");
    assert_true(r.head);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", &r), 200);
}

static void a_request_that_is_under_way_is_waited_for(void **state)
{
    (void)state;
    const char *whole = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct mgr_http_request r = {0};
    for (size_t n = 0; n < strlen(whole); n++)
        assert_int_equal(mgr_http_parse(whole, n, true, &r), 0);
    assert_int_equal(mgr_http_parse(whole, strlen(whole), true, &r), 200);
}

static void everything_else_is_refused_with_its_status(void **state)
{
    (void)state;
    struct mgr_http_request r;
    static const struct {
        unsigned status;
        const char *request;
    } bad[] = {
        {400, "\r\n\r\n"},
        {400, "GET\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET  HTTP/1.1\r\n\r\n"},
        {400, "GET metrics HTTP/1.1\r\n\r\n"},
        {400, "GET /\x01 HTTP/1.1\r\n\r\n"},
        {405, "POST /metrics HTTP/1.1\r\n\r\n"},
        {405, "get /metrics HTTP/1.1\r\n\r\n"},
        {505, "GET /metrics HTTP/1.2\r\n\r\n"},
        {400, "GET /metrics HTTP/2.0\r\n\r\n"},
        {400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {421, "GET /metrics HTTP/1.1\r\n\r\n"},
        {421, "GET /metrics HTTP/1.1\r\nHost: rebound.example\r\n\r\n"},
        {421, "GET /metrics HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n"},
        {421, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n"},
        {400, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i].request, &r) != bad[i].status)
            fail_msg("%u for \"%s\", expected %u", parse(bad[i].request, &r), bad[i].request,
                     bad[i].status);
    char *large = malloc(MGR_HTTP_HEAD_BYTES);
    assert_non_null(large);
    memset(large, 'a', MGR_HTTP_HEAD_BYTES);
    assert_int_equal(mgr_http_parse(large, MGR_HTTP_HEAD_BYTES, true, &r), 431);
    memcpy(large, "GET /", 5);
    memcpy(large + 600, " HTTP/1.1\r\n\r\n", 13);
    assert_int_equal(mgr_http_parse(large, MGR_HTTP_HEAD_BYTES, true, &r), 414);
    free(large);
    assert_int_equal(mgr_http_parse("GET \0", 5, true, &r), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scraper_is_understood),
        cmocka_unit_test(a_request_that_is_under_way_is_waited_for),
        cmocka_unit_test(everything_else_is_refused_with_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
