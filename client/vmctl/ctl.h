/*
 * vmctl/ctl.h - the command line client.
 *
 * Looks into: proto, base.  Used by: its own files.
 *
 * Starts fast: one connection, no name service, no threads, two small libraries. Data goes to standard output,
 * messages to standard error in one line that names the cause and the next step.
 *
 * Exit codes: the guest's own; 128 + signal; 124 --timeout passed; 125 vmctl's own errors, and guests ended by
 * a limit or lost; 2 usage.
 *
 * Thread: one.
 */
#ifndef VMCTL_CTL_H
#define VMCTL_CTL_H

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "proto/client.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"

#include <poll.h>

#define CTL_EXIT_USAGE 2
#define CTL_EXIT_TIMEOUT 124
#define CTL_EXIT_ERROR 125

/* ---- options.c: one table drives parsing and help ---- */

enum ctl_opt {
#define OPTION(id, name, letter, arg, help) OPT_##id,
#include "client/vmctl/options.def"
#undef OPTION
    OPT_COUNT
};
struct ctl_given {
    enum ctl_opt opt;
    const char *value; /* NULL: a flag */
};
struct ctl_args {
    const struct ctl_command *command;
    struct ctl_given *given; /* in their order */
    size_t given_count;
    char **pos; /* arguments, NULL-terminated */
    int pos_count;
};
struct ctl_command {
    const char *words, *arguments;
    int least, most;
    bool stop_at_arg;
    const char *summary;
    int (*run)(struct ctl_args *a); /* the exit code */
    const enum ctl_opt *options;
    size_t option_count;
};
extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;
/* 0: *a is filled; else *exit_code is what to end with (help was printed, or a usage error). */
int ctl_parse(int argc, char **argv, struct ctl_args *a, int *exit_code);
bool ctl_has(const struct ctl_args *a, enum ctl_opt opt);
/* The last value given, or NULL. */
const char *ctl_value(const struct ctl_args *a, enum ctl_opt opt);
/* Values as numbers; a missing option leaves *out. Fail: ERR_INVALID with the option's name. */
res_t ctl_bytes(const struct ctl_args *a, enum ctl_opt opt, uint64_t *out, struct err *err);
res_t ctl_number(const struct ctl_args *a, enum ctl_opt opt, uint32_t max, uint32_t *out,
                 struct err *err);
res_t ctl_seconds(const struct ctl_args *a, enum ctl_opt opt, uint64_t *ns, struct err *err);

/* Print "vmctl: ..." to standard error. */
void ctl_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for an error; CTL_EXIT_USAGE for ERR_INVALID of the command line, else CTL_EXIT_ERROR. */
int ctl_fail(const struct err *err);
int ctl_usage(const struct err *err);

/* ---- conn.c: calls ---- */

struct ctl_conn {
    int fd;
    struct pb_client *h2;
    struct buf out; /* not taken by the socket yet */
    size_t out_at;
};
res_t ctl_connect(struct ctl_conn *c, const struct ctl_args *a, struct err *err);
void ctl_close(struct ctl_conn *c);
/* One turn: send, wait for the socket or others (extra, may be NULL) at most timeout_ms (-1: for ever), receive. */
res_t ctl_turn(struct ctl_conn *c, struct pollfd *extra, size_t extra_count, int timeout_ms,
               struct err *err);

typedef void ctl_use_fn(void *ctx, const ProtobufCMessage *m);
/* Call with one request; use (may be NULL) sees each response. timeout_ns 0: none. Fails with the daemon's error. */
res_t ctl_call(struct ctl_conn *c, enum pb_method_id id, const ProtobufCMessage *request,
               uint64_t timeout_ns, ctl_use_fn *use, void *ctx, struct err *err);

/* ---- attach.c ---- */

struct ctl_attach {
    const char *name;
    bool tty, with_stdin;
    uint64_t timeout_ns; /* 0: none */
};
/* Attach and start; the exit code. */
int ctl_attach(struct ctl_conn *c, const struct ctl_attach *what);
/* Size of our terminal; false: we have none. */
bool ctl_terminal_size(uint32_t *rows, uint32_t *cols);

/* ---- guest.c, image.c ---- */

/* Exit code for how a guest ended; says the reason unless it is an exit code. */
int ctl_end_code(const PbGuest *g, bool say);
/* Reason of the end, or state, for people: "exit 3", "signal 11 (SEGV): ...". */
void ctl_end_text(const PbGuest *g, char *out, size_t cap);

#define COMMAND(ident, ...) int ctl_cmd_##ident(struct ctl_args *a);
#include "client/vmctl/commands.def"
#undef COMMAND

#endif
