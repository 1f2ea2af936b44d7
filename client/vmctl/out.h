/*
 * vmctl/out.h - what commands print: tables, JSON, YAML, names, by -o and -q.
 *
 * Looks into: proto, base.  Used by: its own room.
 *
 * A command gives its rows one by one; columns.def says what stands in a table, write.h makes the rest. JSON and YAML are one array
 * (jsonl: a line for each row), or the object itself where the command asked for one thing.
 * Thread: one.
 */
#ifndef VMCTL_OUT_H
#define VMCTL_OUT_H

#include "client/vmctl/ctl.h"
#include "client/vmctl/write.h"

enum ctl_table {
#define TABLE(ident, emit) CTL_TABLE_##ident,
#define COLUMN(...)
#include "client/vmctl/columns.def"
#undef TABLE
#undef COLUMN
    CTL_TABLE_COUNT
};

#define CTL_COLUMN_WIDE 1   /* with -o wide only */
#define CTL_COLUMN_NAME 2   /* what -o name prints; without one: the table's first */
#define CTL_COLUMN_UNSEEN 4 /* in no table */
struct ctl_column {
    enum ctl_table table;
    const char *heading;
    unsigned flags;
    int width;
    void (*cell)(struct buf *b, const void *row);
};
extern const struct ctl_column ctl_columns[];
extern const size_t ctl_column_count;
extern void (*const ctl_emitters[CTL_TABLE_COUNT])(struct ctl_writer *w, const void *row);

/* A row of `usage`: what a guest used between two looks at it. */
struct ctl_usage {
    const PbGuest *guest;
    double cpu, calls, translate; /* shares of 1, calls per second; below 0: not known yet */
};
/* A row of `contexts`. */
struct ctl_context_row {
    const char *name, *address;
    bool current;
};

enum ctl_print {
    CTL_PRINT_TABLE,
    CTL_PRINT_WIDE,
    CTL_PRINT_JSON,
    CTL_PRINT_JSONL,
    CTL_PRINT_YAML,
    CTL_PRINT_NAME
};
struct ctl_out {
    enum ctl_table table;
    enum ctl_print print;
    bool one;    /* one thing was asked for: no array around it */
    bool stream; /* rows are printed as they come */
    bool headers, colours;
    size_t rows;
    struct buf text; /* JSON, YAML */
    struct ctl_writer w;
    char **cells; /* of a table, row by row, on the heap */
    size_t cell_count, cell_room;
};
/* Fails: ERR_INVALID (no such form). With `print` for when there is no -o. */
res_t ctl_out_init(struct ctl_out *o, const struct ctl_args *a, enum ctl_table table,
                   enum ctl_print print, struct err *err);
void ctl_out_row(struct ctl_out *o, const void *row);
/* Print what is not printed yet and free it; 0 or an exit code. */
int ctl_out_end(struct ctl_out *o);
/* The command failed: free it; what is not printed yet stays unsaid. */
void ctl_out_drop(struct ctl_out *o);

/* Append without control characters, at most `most` bytes. */
void ctl_put_safe(struct buf *b, const char *s, size_t most);
/* "1.5G" */
void ctl_put_bytes(struct buf *b, uint64_t bytes);
/* A cell as a string in out. */
void ctl_cell(const struct ctl_column *c, const void *row, char *out, size_t cap);

#endif
