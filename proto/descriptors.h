/*
 * proto/descriptors.h - the API's own description: which .proto file declares what.
 *
 * Looks into: base.  Used by: proto (reflection), tests, fuzzers.
 * A set is a packed google.protobuf.FileDescriptorSet, as the build makes it and puts it among the constants. It is walked
 * where it lies, field by field, and handed on as bytes: descriptor messages are recursive, and protobuf-c does not bound
 * its recursion. A damaged set is walked up to the damage.
 * Thread: any (constant).
 */
#ifndef PROTO_DESCRIPTORS_H
#define PROTO_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pb_descriptors {
    const uint8_t *p;
    size_t n;
};
/* One file: a packed FileDescriptorProto inside the set. */
struct pb_file {
    const uint8_t *p;
    size_t n;
};

/* What vmd serves. */
struct pb_descriptors pb_descriptors_of_api(void);

bool pb_file_by_name(struct pb_descriptors set, const char *name, struct pb_file *file);
/* By the full name of a message, field, oneof, enum, enum value, service, method or extension, without a leading dot. */
bool pb_file_by_symbol(struct pb_descriptors set, const char *symbol, struct pb_file *file);
/* The file that declares extension `number` of the message `type`. */
bool pb_file_by_extension(struct pb_descriptors set, const char *type, int32_t number,
                          struct pb_file *file);
bool pb_message_known(struct pb_descriptors set, const char *type);
/* The first `max` numbers of extensions of a message; how many there are. */
size_t pb_extension_numbers(struct pb_descriptors set, const char *type, int32_t *numbers,
                            size_t max);
/* The file and all it imports, itself first, each once; at most `max`, how many there are. */
size_t pb_file_closure(struct pb_descriptors set, struct pb_file file, struct pb_file *files,
                       size_t max);
size_t pb_file_count(struct pb_descriptors set);

#endif
