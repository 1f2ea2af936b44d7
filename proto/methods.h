/*
 * proto/methods.h - the table of all RPCs, made from methods.def and standard.def.
 * Looks into: base.  Used by: proto, daemon/manager, client/vmctl.  Thread: any (constant).
 */
#ifndef PROTO_METHODS_H
#define PROTO_METHODS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

enum pb_kind { PB_UNARY, PB_SERVER_STREAM, PB_CLIENT_STREAM, PB_BIDI };

enum pb_method_id {
#define METHOD(service, name, ident, req, resp, kind, max) PB_METHOD_##ident,
#include "proto/methods.def"
    PB_METHOD_COUNT, /* those of vmd.v1; behind them gRPC's own, which proto answers itself */
    PB_METHOD_BEFORE_STANDARD = PB_METHOD_COUNT - 1,
#include "proto/standard.def"
#undef METHOD
    PB_METHOD_ALL_COUNT
};

struct pb_method {
    const char *service; /* "vmd.v1.GuestService" */
    const char *name;    /* "CreateGuest" */
    const char *path;    /* "/vmd.v1.GuestService/CreateGuest" */
    size_t path_length;
    const ProtobufCMessageDescriptor *request, *response;
    enum pb_kind kind;
    size_t request_bytes_max; /* of one message */
};
extern const struct pb_method pb_methods[PB_METHOD_ALL_COUNT];

static inline bool pb_streams_requests(enum pb_kind kind)
{
    return kind == PB_CLIENT_STREAM || kind == PB_BIDI;
}

/* PB_METHOD_ALL_COUNT if there is none. */
enum pb_method_id pb_method_find(const char *path, size_t n);
/* Is there a service of this full name? */
bool pb_service_known(const char *name);

#endif
