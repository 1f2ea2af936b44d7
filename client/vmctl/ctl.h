/*
 * vmctl/ctl.h - the command line client: its tables, its arguments, how it ends.
 *
 * Looks into: proto, base.  Used by: its own files.
 *
 * Starts fast: one connection, no threads. Data goes to standard output, messages to standard error in one line that
 * names the cause and the next step.
 *
 * commands.def and options.def make parsing, help, completion, the manual and `help --json`; columns.def the tables.
 *
 * Exit codes: the guest's own; 128 + signal; 124 --timeout passed; 125 vmctl's own errors, and guests ended by
 * a limit or lost; 2 usage.
 *
 * Thread: one.
 */
#ifndef VMCTL_CTL_H
#define VMCTL_CTL_H

#include "client/vmctl/conn.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"

#include <stdio.h>

#define CTL_EXIT_USAGE 2
#define CTL_EXIT_TIMEOUT 124
#define CTL_EXIT_ERROR 125

/* ---- options.c: the tables, and what was given ---- */

enum ctl_opt {
#define OPTION(id, name, letter, arg, help) OPT_##id,
#include "client/vmctl/options.def"
#undef OPTION
    OPT_COUNT
};
struct ctl_option {
    const char *name;
    char letter; /* 0: none */
    const char *arg, *help;
};
extern const struct ctl_option ctl_options[OPT_COUNT];

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

#define CTL_STOP_AT_ARG 1 /* options end at the first argument */
#define CTL_HIDDEN 2      /* not shown */
#define CTL_RAW 4         /* every word is an argument */
struct ctl_command {
    const char *words, *arguments;
    int least, most;
    unsigned flags;
    const char *summary;
    int (*run)(struct ctl_args *a); /* the exit code */
    const enum ctl_opt *options;
    size_t option_count;
};
extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;
/* Heads of groups: the commands from first on, up to the next group's. */
struct ctl_group {
    const char *title;
    size_t first;
};
extern const struct ctl_group ctl_groups[];
extern const size_t ctl_group_count;
struct ctl_example {
    size_t command;
    const char *line, *text;
};
extern const struct ctl_example ctl_examples[];
extern const size_t ctl_example_count;
/* What the manual says of a command beyond its summary; NULL: nothing. */
const char *ctl_more(const struct ctl_command *c);
/* The options that everybody takes; they may stand before the command too. */
extern const struct ctl_command ctl_everybody;

/* 0: *a is filled; else *exit_code is what to end with (help was printed, or a usage error). */
int ctl_parse(int argc, char **argv, struct ctl_args *a, int *exit_code);
/* The command that the words begin with; *used is how many of them it takes. NULL: none. */
const struct ctl_command *ctl_find_command(char **words, int count, int *used);
bool ctl_has(const struct ctl_args *a, enum ctl_opt opt);
/* The last value given, or NULL. */
const char *ctl_value(const struct ctl_args *a, enum ctl_opt opt);

/* ---- value.c: values as numbers; a missing option leaves *out. Fail: ERR_INVALID with the option's name. ---- */

res_t ctl_bytes(const struct ctl_args *a, enum ctl_opt opt, uint64_t *out, struct err *err);
res_t ctl_number(const struct ctl_args *a, enum ctl_opt opt, uint32_t max, uint32_t *out,
                 struct err *err);
/* A duration: "10" (seconds), "0.5", "500ms", "1h30m" (units ms s m h d). */
res_t ctl_seconds(const struct ctl_args *a, enum ctl_opt opt, uint64_t *ns, struct err *err);
/* Unix time: "10m" (that long ago; units s m h d, 1h30m), "@1700000000", "2026-01-31T12:00:00Z" (or with +01:00, or of
 * this host's time zone without either). */
res_t ctl_time(const struct ctl_args *a, enum ctl_opt opt, int64_t *ns, struct err *err);
res_t ctl_restart(const struct ctl_args *a, PbRestart *out, struct err *err);
/* A signal's name, with or without SIG, or its number. */
res_t ctl_signal(const char *s, uint32_t *signo, struct err *err);
/* "ctrl-p,ctrl-q" as bytes; *n 0: none. */
#define CTL_DETACH_MAX 16
res_t ctl_detach_keys(const char *s, uint8_t out[CTL_DETACH_MAX], size_t *n, struct err *err);
const char *ctl_signal_name(int signo); /* "SEGV"; "?" */

/* ---- help.c ---- */

void ctl_help_all(FILE *f);
void ctl_help_one(FILE *f, const struct ctl_command *c);
/* "-m, --memory BYTES" */
void ctl_option_left(enum ctl_opt opt, char *out, size_t cap);

/* ---- say.c: messages ---- */

/* Print "vmctl: ..." to standard error. */
void ctl_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for an error, with what to do about it; CTL_EXIT_USAGE for ERR_INVALID of the command line, else CTL_EXIT_ERROR. */
int ctl_fail(const struct err *err);
int ctl_usage(const struct err *err);
/* Whether f is a terminal that wants colours. */
bool ctl_colours(FILE *f);

/* ---- console.c ---- */

struct ctl_attach {
    const char *name;
    bool start, tty, with_stdin, shared, take_over, no_replay;
    uint64_t timeout_ns; /* 0: none */
    uint8_t detach[CTL_DETACH_MAX];
    size_t detach_count;
};
/* Attach (and start); the exit code. */
int ctl_attach(struct ctl_conn *c, const struct ctl_attach *what);
/* Keys from the option, else the configuration, else the default. */
res_t ctl_attach_keys(const struct ctl_args *a, struct ctl_attach *what, struct err *err);

/* ---- end.c ---- */

/* Exit code for how a guest ended; says the reason unless it is an exit code. */
int ctl_end_code(const PbGuest *g, bool say);
/* Reason of the end, or state, for people: "exit 3", "signal 11 (SIGSEGV): ...". */
void ctl_end_text(const PbGuest *g, char *out, size_t cap);

#define COMMAND(ident, ...) int ctl_cmd_##ident(struct ctl_args *a);
#include "client/vmctl/commands.def"
#undef COMMAND

#endif
