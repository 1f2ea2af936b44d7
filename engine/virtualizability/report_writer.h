/*
 * virtualizability/report_writer.h - maps, lists and values, written as JSON or as YAML.
 *
 * Looks into: base.  Used by: report_data.c.
 *
 * In a map every value has a key; in a list keys are NULL. Both forms are indented by two; YAML is the block form with
 * strings in double quotes. What is opened is closed by its writer_end.
 */
#ifndef VIRTUALIZABILITY_REPORT_WRITER_H
#define VIRTUALIZABILITY_REPORT_WRITER_H

#include "engine/base/buf.h"

#define WRITER_DEPTH_MAX 16

struct pg_writer {
    struct buf *out;
    bool yaml;
    unsigned depth; /* open maps and lists */
    struct {
        bool list, used;
    } level[WRITER_DEPTH_MAX];
};

void pg_writer_map(struct pg_writer *w, const char *key);
void pg_writer_list(struct pg_writer *w, const char *key);
void pg_writer_end(struct pg_writer *w);
/* NULL is written as null. */
void pg_writer_text(struct pg_writer *w, const char *key, const char *value);
void pg_writer_number(struct pg_writer *w, const char *key, uint64_t value);
void pg_writer_hex(struct pg_writer *w, const char *key, uint64_t value);
void pg_writer_bool(struct pg_writer *w, const char *key, bool value);

#endif
