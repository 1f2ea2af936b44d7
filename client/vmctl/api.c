/* vmctl api: any method of the daemon, by server reflection. */
#include "client/vmctl/ctl.h"
#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES_MAX ((size_t)4 << 20) /* one request in JSON */
#define QUEUE_BYTES ((size_t)512 * 1024)

/* Numbers of grpc.reflection.v1. */
enum { ASK_FILE = 3, ASK_SYMBOL = 4, ASK_LIST = 7 };
enum { TOLD_FILES = 4, TOLD_LIST = 6, TOLD_ERROR = 7 };
#define FILES_FILE 1
#define LIST_SERVICE 1
#define SERVICE_NAME 1
#define ERROR_TEXT 2

/* ---- reflection ---- */

struct ask {
    struct ctl_schema *schema;
    char (*services)[128]; /* on the heap */
    size_t service_count;
    bool done;
    res_code_t res;
    struct err *err;
};

static res_code_t take_list(struct ask *q, struct ctl_wire w)
{
    while (ctl_wire_next(&w)) {
        struct ctl_wire in = ctl_wire_over(w.p, w.n);
        if (w.number != LIST_SERVICE || w.kind != CTL_WIRE_BYTES)
            continue;
        while (ctl_wire_next(&in)) {
            if (in.number != SERVICE_NAME || in.kind != CTL_WIRE_BYTES ||
                in.n >= sizeof *q->services)
                continue;
            q->services = realloc(q->services, (q->service_count + 1) * sizeof *q->services);
            ASSERT(q->services);
            memcpy(q->services[q->service_count], in.p, in.n);
            q->services[q->service_count++][in.n] = 0;
        }
    }
    return OK;
}

static res_code_t take_files(struct ask *q, struct ctl_wire w)
{
    while (ctl_wire_next(&w))
        if (w.number == FILES_FILE && w.kind == CTL_WIRE_BYTES &&
            ctl_schema_add(q->schema, w.p, w.n, q->err))
            return FAIL;
    return OK;
}

static res_code_t take_refusal(struct ask *q, struct ctl_wire w)
{
    char text[200] = "no such thing";
    while (ctl_wire_next(&w))
        if (w.number == ERROR_TEXT && w.kind == CTL_WIRE_BYTES)
            snprintf(text, sizeof text, "%.*s", (int)MIN(w.n, sizeof text - 1), (const char *)w.p);
    return err_set(q->err, ERR_NOT_FOUND, "%s", text);
}

static void on_told(void *ctx, const uint8_t *p, size_t n)
{
    struct ask *q = ctx;
    struct ctl_wire w = ctl_wire_over(p, n);
    while (!q->res && ctl_wire_next(&w)) {
        struct ctl_wire in = ctl_wire_over(w.p, w.n);
        if (w.kind != CTL_WIRE_BYTES)
            continue;
        if (w.number == TOLD_FILES)
            q->res = take_files(q, in);
        else if (w.number == TOLD_LIST)
            q->res = take_list(q, in);
        else if (w.number == TOLD_ERROR)
            q->res = take_refusal(q, in);
    }
}

static void on_ask_done(void *ctx, const struct err *why)
{
    struct ask *q = ctx;
    q->done = true;
    if (why && !q->res) {
        q->res = FAIL;
        if (why != q->err)
            *q->err = *why;
    }
}

/* One question to the daemon's reflection service; what it tells is in q. */
static res_code_t ask(struct ctl_conn *c, struct ask *q, uint32_t what, const char *name,
                      struct err *err)
{
    static const char *const paths[] = {
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};
    static const struct pb_rpc_ops ops = {.bytes = on_told, .done = on_ask_done};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct buf b = {0};
        struct pb_rpc *rpc;
        q->done = false;
        q->res = OK;
        q->err = err;
        if (pb_rpc_start_path(c->h2, paths[i], &ops, q, 10000000000ull, &rpc, err))
            return FAIL;
        ctl_put_field(&b, what, name, strlen(name));
        pb_rpc_send_bytes(rpc, b.data, b.len);
        pb_rpc_half_close(rpc);
        buf_fini(&b);
        while (!q->done)
            if (ctl_turn(c, NULL, 0, -1, err) && !q->done)
                return FAIL;
        if (!q->res || err->code != ERR_UNIMPLEMENTED)
            return q->res;
    }
    return err_set(err, ERR_UNIMPLEMENTED,
                   "this daemon does not describe its API (server reflection)");
}

/* The file that declares a symbol, and all that it imports. */
static res_code_t learn(struct ctl_conn *c, struct ask *q, const char *symbol, struct err *err)
{
    const char *missing;
    if (ask(c, q, ASK_SYMBOL, symbol, err))
        return FAIL;
    while ((missing = ctl_schema_missing(q->schema))) {
        char name[300];
        snprintf(name, sizeof name, "%s", missing);
        if (ask(c, q, ASK_FILE, name, err))
            return FAIL;
        missing = ctl_schema_missing(q->schema);
        if (missing && !strcmp(missing, name))
            return err_set(err, ERR_BAD_MESSAGE, "the daemon does not tell about %.100s", name);
    }
    return OK;
}

static res_code_t learn_all(struct ctl_conn *c, struct ask *q, struct err *err)
{
    if (ask(c, q, ASK_LIST, "*", err))
        return FAIL;
    for (size_t i = 0; i < q->service_count; i++)
        if (learn(c, q, q->services[i], err))
            return FAIL;
    return ctl_schema_link(q->schema, err);
}

/* ---- the method ---- */

/* "Service/Method", "Service.Method", either with its package or without, or "Method". */
static bool is_called(const struct ctl_rpc *r, const char *name)
{
    char full[300];
    size_t n = strlen(name), length;
    name += name[0] == '/';
    n = strlen(name);
    for (const char *sign = "/."; *sign; sign++) {
        snprintf(full, sizeof full, "%s%c%s", r->service, *sign, r->name);
        length = strlen(full);
        if (n <= length && !strcmp(full + length - n, name) &&
            (n == length || full[length - n - 1] == '.' || full[length - n - 1] == '/'))
            return true;
    }
    return false;
}

static res_code_t find_method(const struct ctl_schema *s, const char *name,
                              const struct ctl_rpc **out, struct err *err)
{
    const struct ctl_rpc *found = NULL;
    const char *names[512], *meant;
    size_t n = 0;
    for (const struct ctl_rpc *r = s->rpcs; r; r = r->next) {
        if (n < ARRAY_LEN(names))
            names[n++] = r->name;
        if (!is_called(r, name))
            continue;
        if (found)
            return err_set(err, ERR_INVALID, "method %.80s: is it %s/%s or %s/%s?", name,
                           found->service, found->name, r->service, r->name);
        found = r;
    }
    if (!found) {
        const char *last = strpbrk(name, "/") ? strrchr(name, '/') + 1 : name;
        meant = suggest(last, names, n);
        return err_set(err, ERR_INVALID,
                       "no method %.80s%s%.60s%s; \"vmctl api --list\" shows what there is", name,
                       meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
    }
    *out = found;
    return OK;
}

static void list_methods(const struct ctl_schema *s)
{
    for (const struct ctl_rpc *r = s->rpcs; r; r = r->next)
        printf("%s/%s (%s%s) -> %s%s\n", r->service, r->name, r->streams_in ? "stream " : "",
               r->input_name, r->streams_out ? "stream " : "", r->output_name);
}

/* ---- the call ---- */

struct api {
    struct ctl_conn *c;
    const struct ctl_rpc *method;
    struct pb_rpc *rpc; /* NULL: over */
    struct buf in;      /* of standard input, not translated yet */
    bool in_over;
    res_code_t res;
    struct err err;
};

static void on_response(void *ctx, const uint8_t *p, size_t n)
{
    struct api *x = ctx;
    struct buf text = {0};
    struct ctl_writer w;
    ctl_w_init(&w, &text, x->method->streams_out ? CTL_FORM_JSON_LINE : CTL_FORM_JSON);
    if (!x->res && ctl_to_tree(x->method->output, p, n, &w, &x->err)) {
        x->res = FAIL;
    } else if (!x->res) {
        ctl_w_finish(&w);
        fwrite(text.data, 1, text.len, stdout);
        fflush(stdout);
    }
    buf_fini(&text);
}

static void on_api_done(void *ctx, const struct err *why)
{
    struct api *x = ctx;
    x->rpc = NULL;
    if (why && !x->res) {
        x->res = FAIL;
        x->err = *why;
    }
}

static res_code_t send_json(struct api *x, const json_t *json, struct err *err)
{
    struct buf b = {0};
    res_code_t res = ctl_from_json(x->method->input, json, &b, err);
    if (!res && x->rpc)
        pb_rpc_send_bytes(x->rpc, b.data, b.len);
    buf_fini(&b);
    return res;
}

static void skip_space(struct buf *b)
{
    size_t n = 0;
    while (n < b->len && isspace(b->data[n]))
        n++;
    buf_drop_front(b, n);
}

/* Translate the values that are whole in x->in. */
static res_code_t take_values(struct api *x, struct err *err)
{
    for (;;) {
        json_error_t why;
        skip_space(&x->in);
        if (x->in.len == 0)
            return OK;
        json_t *json =
            json_loadb((const char *)x->in.data, x->in.len, JSON_DISABLE_EOF_CHECK, &why);
        if (!json && json_error_code(&why) == json_error_premature_end_of_input && !x->in_over) {
            if (x->in.len > VALUE_BYTES_MAX)
                return err_set(err, ERR_LIMIT, "standard input: a value of more than %zu bytes",
                               VALUE_BYTES_MAX);
            return OK; /* more of it will come */
        }
        if (!json)
            return err_set(err, ERR_INVALID, "standard input:%d:%d: %s", why.line, why.column,
                           why.text);
        buf_drop_front(&x->in, (size_t)why.position);
        res_code_t res = send_json(x, json, err);
        json_decref(json);
        if (res)
            return FAIL;
    }
}

static res_code_t read_stdin(struct api *x, struct err *err)
{
    static uint8_t bytes[65536];
    ssize_t n = read(0, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return OK;
    if (n < 0)
        return err_set_os(err, "standard input");
    if (n == 0)
        x->in_over = true;
    else
        buf_put(&x->in, bytes, (size_t)n);
    if (take_values(x, err))
        return FAIL;
    if (x->in_over && x->rpc)
        pb_rpc_half_close(x->rpc);
    return OK;
}

static res_code_t converse(struct api *x, const char *request, struct err *err)
{
    bool from_stdin = !strcmp(request, "-");
    if (!from_stdin) {
        json_error_t why;
        json_t *json = json_loads(request, 0, &why);
        if (!json)
            return err_set(err, ERR_INVALID, "the request, column %d: %s", why.column, why.text);
        res_code_t res = send_json(x, json, err);
        json_decref(json);
        if (res)
            return FAIL;
        pb_rpc_half_close(x->rpc);
        x->in_over = true;
    }
    while (x->rpc) {
        struct pollfd p = {.fd = x->in_over || pb_rpc_queued(x->rpc) > QUEUE_BYTES ? -1 : 0,
                           .events = POLLIN};
        if (ctl_turn(x->c, &p, 1, -1, err) && x->rpc)
            return FAIL;
        if (p.revents && x->rpc && read_stdin(x, err))
            return FAIL;
    }
    if (x->res)
        *err = x->err;
    return x->res;
}

static res_code_t call(struct ctl_conn *c, const struct ctl_args *a, const struct ctl_rpc *method,
                       struct err *err)
{
    static const struct pb_rpc_ops ops = {.bytes = on_response, .done = on_api_done};
    struct api x = {.c = c, .method = method};
    char path[300];
    uint64_t timeout_ns = 0;
    snprintf(path, sizeof path, "/%.130s/%.130s", method->service, method->name);
    if (ctl_seconds(a, OPT_TIMEOUT, &timeout_ns, err) ||
        pb_rpc_start_path(c->h2, path, &ops, &x, timeout_ns, &x.rpc, err))
        return FAIL;
    res_code_t res = converse(&x, a->pos_count > 1 ? a->pos[1] : "{}", err);
    if (x.rpc) /* given up: nothing of x may be told to later */
        pb_client_lost(c->h2, err);
    buf_fini(&x.in);
    return res;
}

int ctl_cmd_api(struct ctl_args *a)
{
    struct ctl_schema schema;
    struct ask q = {.schema = &schema};
    const struct ctl_rpc *method = NULL;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    ctl_schema_init(&schema);
    if (ctl_connect(&c, a, &err) || learn_all(&c, &q, &err)) {
        code = ctl_fail(&err);
    } else if (ctl_has(a, OPT_LIST) || a->pos_count == 0) {
        list_methods(&schema);
    } else if (find_method(&schema, a->pos[0], &method, &err) || call(&c, a, method, &err)) {
        code = ctl_fail(&err);
        if (err.code == ERR_DEADLINE)
            code = CTL_EXIT_TIMEOUT;
    }
    ctl_close(&c);
    ctl_schema_fini(&schema);
    free(q.services);
    return code;
}
