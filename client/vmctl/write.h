/*
 * vmctl/write.h - JSON and YAML from one walk over a tree; protobuf messages as such trees.
 *
 * Looks into: base.  Used by: its own room.
 *
 * Calls follow the tree: ctl_w_map, then ctl_w_key and a value for each entry, ctl_w_end; ctl_w_list, values, ctl_w_end. All YAML
 * that is written is what a JSON reader's tree would be: strings that look like something else are quoted.
 *
 * Rules: (1) at most CTL_DEPTH_MAX maps and lists are open; (2) a key stands before every value of a map and nowhere else. Both are
 * assertions: who writes what others send checks the depth first.
 * Thread: one at a time.
 */
#ifndef VMCTL_WRITE_H
#define VMCTL_WRITE_H

#include "engine/base/buf.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define CTL_DEPTH_MAX 160

enum ctl_form { CTL_FORM_JSON, CTL_FORM_JSON_LINE, CTL_FORM_YAML };
struct ctl_writer {
    struct buf *out;
    enum ctl_form form;
    int depth;
    bool keyed; /* a key waits for its value */
    struct {
        bool map, same_line; /* its first entry goes behind a "- " */
        size_t count;
    } open[CTL_DEPTH_MAX];
};
void ctl_w_init(struct ctl_writer *w, struct buf *out, enum ctl_form form);
void ctl_w_map(struct ctl_writer *w);
void ctl_w_list(struct ctl_writer *w);
void ctl_w_end(struct ctl_writer *w);
void ctl_w_key(struct ctl_writer *w, const char *name);
/* Valid UTF-8. */
void ctl_w_string(struct ctl_writer *w, const char *s, size_t n);
/* A number, true, false or null, as it is to stand there. */
void ctl_w_plain(struct ctl_writer *w, const char *s);
void ctl_w_base64(struct ctl_writer *w, const uint8_t *p, size_t n);
/* Key and string; key and number. */
void ctl_w_text(struct ctl_writer *w, const char *key, const char *s);
void ctl_w_number(struct ctl_writer *w, const char *key, long long v);
/* The document is over: its last line ends. */
void ctl_w_finish(struct ctl_writer *w);
/* Finish, print to standard output, free; 0, or the exit code of an error, which was said. */
int ctl_w_print(struct ctl_writer *w);

/* A double as JSON has it: "NaN" and the infinities are strings. */
void ctl_w_double(struct ctl_writer *w, double v);

/* The proto3 JSON mapping: lowerCamelCase names, 64-bit integers as strings, enums by name, bytes in base64, fields with
 * their default value left out unless they are a oneof's. */
void ctl_emit(struct ctl_writer *w, const ProtobufCMessage *m);
/* "memory_bytes" to "memoryBytes". */
void ctl_camel(const char *name, char *out, size_t cap);

#endif
