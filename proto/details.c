#include "proto/details.h"
#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "proto/message.h"
#include "proto/rpc_status.pb-c.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOMAIN "vivarium"
#define TYPE_PREFIX "type.googleapis.com/"
#define RETRY_SECONDS 1
#define KEPT_BYTES_MAX 65536
#define ANY_MAX 8

/* protobuf-c's strings are not const, but packing only reads them. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* ---- out ---- */

struct details {
    PbAny any[ANY_MAX], *pointers[ANY_MAX];
    size_t offset[ANY_MAX], count;
    struct buf bytes; /* the packed details, one behind the other */
};

static void add(struct details *d, const char *type_url, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    if (d->count == ANY_MAX || !buf_reserve(&d->bytes, n + 1))
        return;
    PbAny *any = &d->any[d->count];
    pb_any__init(any);
    any->type_url = text(type_url);
    any->value.len = n;
    d->offset[d->count++] = d->bytes.len;
    d->bytes.len += protobuf_c_message_pack(m, d->bytes.data + d->bytes.len);
}

static const char *reason_of(const struct err *err)
{
    return err->reason ? err->reason : err_name(err->code);
}

static void add_error_info(struct details *d, const struct err *err)
{
    const struct {
        const char *key, *value;
    } pairs[] = {{"error", err_name(err->code)},
                 {"object_type", err->type},
                 {"object", err->object},
                 {"fix", err->fix}};
    PbRpcErrorInfo__MetadataEntry entries[ARRAY_LEN(pairs)], *pointers[ARRAY_LEN(pairs)];
    PbRpcErrorInfo info = PB_RPC_ERROR_INFO__INIT;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (!pairs[i].value || !pairs[i].value[0])
            continue;
        PbRpcErrorInfo__MetadataEntry *e = &entries[info.n_metadata];
        pb_rpc_error_info__metadata_entry__init(e);
        e->key = text(pairs[i].key);
        e->value = text(pairs[i].value);
        pointers[info.n_metadata++] = e;
    }
    info.reason = text(reason_of(err));
    info.domain = text(DOMAIN);
    info.metadata = pointers;
    add(d, TYPE_PREFIX "google.rpc.ErrorInfo", &info.base);
}

static void add_by_status(struct details *d, const struct err *err)
{
    char subject[sizeof err->object + 40];
    snprintf(subject, sizeof subject, "%.32s:%s", err->type ? err->type : "", err->object);
    pb_utf8_clean(subject);
    switch (err_grpc(err->code)) {
    case 3: { /* INVALID_ARGUMENT */
        PbRpcBadRequest__FieldViolation v = PB_RPC_BAD_REQUEST__FIELD_VIOLATION__INIT, *vs[] = {&v};
        PbRpcBadRequest m = PB_RPC_BAD_REQUEST__INIT;
        if (!err->type || strcmp(err->type, "field"))
            return;
        v.field = text(err->object);
        v.description = text(err->text);
        m.n_field_violations = 1;
        m.field_violations = vs;
        add(d, TYPE_PREFIX "google.rpc.BadRequest", &m.base);
        return;
    }
    case 8: { /* RESOURCE_EXHAUSTED */
        PbRpcQuotaFailure__Violation v = PB_RPC_QUOTA_FAILURE__VIOLATION__INIT, *vs[] = {&v};
        PbRpcQuotaFailure m = PB_RPC_QUOTA_FAILURE__INIT;
        v.subject = subject;
        v.description = text(err->text);
        m.n_violations = 1;
        m.violations = vs;
        add(d, TYPE_PREFIX "google.rpc.QuotaFailure", &m.base);
        return;
    }
    case 9: { /* FAILED_PRECONDITION */
        PbRpcPreconditionFailure__Violation v = PB_RPC_PRECONDITION_FAILURE__VIOLATION__INIT,
                                            *vs[] = {&v};
        PbRpcPreconditionFailure m = PB_RPC_PRECONDITION_FAILURE__INIT;
        v.type = text(reason_of(err));
        v.subject = subject;
        v.description = text(err->text);
        m.n_violations = 1;
        m.violations = vs;
        add(d, TYPE_PREFIX "google.rpc.PreconditionFailure", &m.base);
        return;
    }
    case 14: { /* UNAVAILABLE */
        PbDuration delay = PB_DURATION__INIT;
        PbRpcRetryInfo m = PB_RPC_RETRY_INFO__INIT;
        delay.seconds = RETRY_SECONDS;
        m.retry_delay = &delay;
        add(d, TYPE_PREFIX "google.rpc.RetryInfo", &m.base);
        return;
    }
    default:
        return;
    }
}

static void add_object_and_fix(struct details *d, const struct err *err)
{
    if (err->type && strcmp(err->type, "field")) {
        PbRpcResourceInfo m = PB_RPC_RESOURCE_INFO__INIT;
        m.resource_type = text(err->type);
        m.resource_name = text(err->object);
        m.description = text(err->text);
        add(d, TYPE_PREFIX "google.rpc.ResourceInfo", &m.base);
    }
    if (err->fix) {
        PbRpcHelp__Link link = PB_RPC_HELP__LINK__INIT, *links[] = {&link};
        PbRpcHelp m = PB_RPC_HELP__INIT;
        link.description = text(err->fix);
        m.n_links = 1;
        m.links = links;
        add(d, TYPE_PREFIX "google.rpc.Help", &m.base);
    }
}

void pb_details_encode(struct buf *out, const struct err *given)
{
    struct details d = {0};
    struct err err = *given;
    PbRpcStatus status = PB_RPC_STATUS__INIT;
    CLEANUP(buf_fini) struct buf packed = {0};
    pb_utf8_clean(err.text);
    pb_utf8_clean(err.object);
    add_error_info(&d, &err);
    add_by_status(&d, &err);
    add_object_and_fix(&d, &err);
    for (size_t i = 0; i < d.count; i++) {
        d.any[i].value.data = d.bytes.data + d.offset[i];
        d.pointers[i] = &d.any[i];
    }
    status.code = err_grpc(err.code);
    status.message = err.text;
    status.n_details = d.count;
    status.details = d.pointers;
    size_t n = protobuf_c_message_get_packed_size(&status.base);
    if (!d.bytes.failed && buf_reserve(&packed, n)) {
        packed.len = protobuf_c_message_pack(&status.base, packed.data);
        pb_base64_put(out, packed.data, packed.len);
    } else {
        out->failed = true;
    }
    buf_fini(&d.bytes);
}

/* ---- in ---- */

struct kept {
    struct kept *next;
    char text[];
};
static struct kept
    *all_kept; /* a server that makes up ever new reasons fills this once, not the memory */
static size_t kept_bytes;

static const char *keep(const char *s)
{
    size_t n = strlen(s) + 1;
    if (n == 1)
        return NULL;
    for (struct kept *k = all_kept; k; k = k->next)
        if (!strcmp(k->text, s))
            return k->text;
    struct kept *k = kept_bytes + n <= KEPT_BYTES_MAX ? malloc(sizeof *k + n) : NULL;
    if (!k)
        return NULL;
    memcpy(k->text, s, n);
    k->next = all_kept;
    all_kept = k;
    kept_bytes += n;
    return k->text;
}

static void take_code(const char *name, struct err *err)
{
    for (unsigned i = 0; i < ERR_CODE_COUNT; i++)
        if (!strcmp(err_name((enum err_code)i), name) &&
            err_grpc((enum err_code)i) == err_grpc(err->code))
            err->code = (enum err_code)i;
}

static void take_error_info(const PbRpcErrorInfo *info, struct err *err)
{
    err->reason = keep(info->reason);
    for (size_t i = 0; i < info->n_metadata; i++) {
        const char *key = info->metadata[i]->key, *value = info->metadata[i]->value;
        if (!strcmp(key, "error") && !strcmp(info->domain, DOMAIN))
            take_code(value, err);
        else if (!strcmp(key, "object_type"))
            err->type = keep(value);
        else if (!strcmp(key, "object"))
            snprintf(err->object, sizeof err->object, "%s", value);
        else if (!strcmp(key, "fix"))
            err->fix = keep(value);
    }
    pb_utf8_clean(err->object);
}

/* ResourceInfo and Help are for others' servers: ours says the same in ErrorInfo. */
static void take(const PbAny *any, struct arena *arena, struct err *err)
{
    const char *slash = strrchr(any->type_url, '/'), *type = slash ? slash + 1 : any->type_url;
    const ProtobufCMessageDescriptor *descriptor =
        !strcmp(type, "google.rpc.ErrorInfo")      ? &pb_rpc_error_info__descriptor
        : !strcmp(type, "google.rpc.ResourceInfo") ? &pb_rpc_resource_info__descriptor
        : !strcmp(type, "google.rpc.Help")         ? &pb_rpc_help__descriptor
                                                   : NULL;
    const ProtobufCMessage *m;
    if (!descriptor || pb_unpack(descriptor, arena, any->value.data, any->value.len, &m, NULL))
        return;
    if (descriptor == &pb_rpc_error_info__descriptor) {
        take_error_info((const PbRpcErrorInfo *)m, err);
    } else if (descriptor == &pb_rpc_resource_info__descriptor) {
        const PbRpcResourceInfo *r = (const PbRpcResourceInfo *)m;
        if (!err->type) {
            err->type = keep(r->resource_type);
            snprintf(err->object, sizeof err->object, "%s", r->resource_name);
            pb_utf8_clean(err->object);
        }
    } else {
        const PbRpcHelp *h = (const PbRpcHelp *)m;
        if (!err->fix && h->n_links)
            err->fix = keep(h->links[0]->description);
    }
}

void pb_details_decode(const char *value, size_t n, struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct arena arena;
    const ProtobufCMessage *m;
    if (n > PB_DETAILS_BYTES_MAX || pb_base64_get(&bytes, value, n, NULL))
        return;
    arena_init(&arena, 2 * PB_ARENA_BYTES(bytes.len));
    if (!pb_unpack(&pb_rpc_status__descriptor, &arena, bytes.data, bytes.len, &m, NULL)) {
        const PbRpcStatus *status = (const PbRpcStatus *)m;
        for (size_t i = 0; i < status->n_details && i < ANY_MAX; i++)
            take(status->details[i], &arena, err);
    }
    arena_fini(&arena);
}
