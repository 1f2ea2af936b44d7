/*
 * vmctl/reflect.h - an API as its daemon describes it (FileDescriptorProto), and messages of it between JSON and the wire.
 *
 * Looks into: base, jansson.  Used by: its own room, tests.
 *
 * Descriptors and messages come over the network: both are walked where they lie, without recursion that they could drive beyond
 * CTL_NEST_MAX, into an arena with a limit.
 *
 * Rules: (1) ctl_schema_link() has found every type that a field or a method names before anything is translated; (2) what is not in the
 * schema is an error in JSON and skipped on the wire.
 * Thread: one at a time.
 */
#ifndef VMCTL_REFLECT_H
#define VMCTL_REFLECT_H

#include "client/vmctl/write.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"

#include <jansson.h>

#define CTL_NEST_MAX \
    64 /* messages in messages; a list of them is one more level of what is written */
#define CTL_DECLARED_MAX 20000 /* types, fields, values and methods together */
#define CTL_SCHEMA_BYTES_MAX ((size_t)32 << 20)

/* FieldDescriptorProto.Type */
enum ctl_type_id {
    CTL_DOUBLE = 1,
    CTL_FLOAT,
    CTL_INT64,
    CTL_UINT64,
    CTL_INT32,
    CTL_FIXED64,
    CTL_FIXED32,
    CTL_BOOL,
    CTL_STRING,
    CTL_GROUP,
    CTL_MESSAGE,
    CTL_BYTES,
    CTL_UINT32,
    CTL_ENUM,
    CTL_SFIXED32,
    CTL_SFIXED64,
    CTL_SINT32,
    CTL_SINT64
};

struct ctl_enum_value {
    const char *name;
    int32_t number;
};
struct ctl_enum {
    struct ctl_enum *next;
    const char *name; /* full, no leading dot; so all names here */
    struct ctl_enum_value *values;
    size_t count;
};
struct ctl_field {
    const char *name, *json;
    uint32_t number;
    enum ctl_type_id type;
    bool repeated;
    int oneof; /* -1: of none */
    const char *type_name;
    const struct ctl_type *message; /* of MESSAGE */
    const struct ctl_enum *values;  /* of ENUM */
};
struct ctl_type {
    struct ctl_type *next;
    const char *name;
    struct ctl_field *fields;
    size_t count;
    bool map_entry;
};
struct ctl_rpc {
    struct ctl_rpc *next;
    const char *service, *name;
    const char *input_name, *output_name;
    const struct ctl_type *input, *output;
    bool streams_in, streams_out;
};
struct ctl_file {
    struct ctl_file *next;
    const char *name;
    bool there; /* else imported by one that is */
};
struct ctl_schema {
    struct arena arena;
    struct ctl_type *types;
    struct ctl_enum *enums;
    struct ctl_rpc *rpcs;
    struct ctl_file *files;
    size_t declared; /* at most CTL_DECLARED_MAX */
};
void ctl_schema_init(struct ctl_schema *s);
void ctl_schema_fini(struct ctl_schema *s);
/* Add a FileDescriptorProto; one that is there is left out. Fails: ERR_BAD_MESSAGE, ERR_LIMIT. */
res_t ctl_schema_add(struct ctl_schema *s, const void *p, size_t n, struct err *err);
/* A file that one imports and that is not there; NULL: none. */
const char *ctl_schema_missing(const struct ctl_schema *s);
/* Fails: ERR_BAD_MESSAGE, a type that no file declares. */
res_t ctl_schema_link(struct ctl_schema *s, struct err *err);
const struct ctl_type *ctl_schema_type(const struct ctl_schema *s, const char *name);

/* Append a message in the protobuf JSON mapping as wire bytes. Fails: ERR_INVALID with the place ("limits.memoryBytes: ..."). */
res_t ctl_from_json(const struct ctl_type *type, const json_t *json, struct buf *out,
                    struct err *err);
/* Write wire bytes as the protobuf JSON mapping has them. Fails: ERR_BAD_MESSAGE; what was written is worth nothing then. */
res_t ctl_to_tree(const struct ctl_type *type, const void *p, size_t n, struct ctl_writer *w,
                  struct err *err);

#endif
