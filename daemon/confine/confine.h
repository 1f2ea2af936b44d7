/*
 * confine/confine.h - how a child of the daemon locks itself in before it reads the first hostile byte.
 *
 * Looks into: base.  Used by: daemon/worker, daemon/import; spawn.h of the same room by daemon/manager.
 * Touches:    the process that calls: namespaces, root, ids, capabilities, limits, seccomp.
 *
 * Every layer of layers.def is tried; what the host refuses is reported and gone without, since the layers
 * overlap on purpose. Which calls a process may make is the table of its own room (calls.def: struct cf_rule).
 *
 * Rules:
 *  (1) Nothing here needs a privilege. What root adds: its children are not root.
 *  (2) After cf_confine nothing can be opened by name; after cf_filter_enter nothing at all that the table does not name.
 *  (3) A filter is made before the process is locked in (libseccomp asks the kernel what it can do) and is a constant then.
 *
 * Thread: the process has one when cf_confine is called; cf_filter_enter confines the calling thread and those it starts.
 * Life: cf_begin -> (open what is needed) -> cf_filter_make* -> cf_confine -> cf_filter_enter, and once more in threads that need less
 */
#ifndef CONFINE_CONFINE_H
#define CONFINE_CONFINE_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cf_layer {
#define LAYER(id, name, stops, adds) CF_##id,
#include "daemon/confine/layers.def"
#undef LAYER
    CF_LAYER_COUNT
};
struct cf_layer_text {
    const char *name, *stops, *adds;
};
extern const struct cf_layer_text cf_layers[CF_LAYER_COUNT];

/* What became of each layer. */
struct cf_report {
    struct cf_state {
        bool active;
        char why_not[120]; /* one line; may say something about an active layer too */
    } layer[CF_LAYER_COUNT];
    bool own_user_ns, own_pid_ns; /* made by whoever started the process (spawn.h) */
};

/* First thing in main. word: argv[1], as cf_spawn passes it (NULL: started by hand). Closes all descriptors from first_fd on. */
void cf_begin(struct cf_report *r, const char *word, unsigned first_fd);

struct cf_limits {
    uint64_t files;   /* RLIMIT_NOFILE */
    uint64_t threads; /* RLIMIT_NPROC: in its own user namespace; 0: none but the one that calls */
    uint64_t file_bytes; /* RLIMIT_FSIZE; UINT64_MAX: none */
};
/* All layers but seccomp. Descriptors that are open stay open. */
void cf_confine(struct cf_report *r, const struct cf_limits *limits);

/* One rule: a call, and what its arguments must be like. Every condition must hold; several rules of one call are alternatives. */
enum cf_op { CF_EQ, CF_MASK, CF_ABOVE };
struct cf_cond {
    unsigned arg;
    enum cf_op op;
    uint64_t mask,
        value; /* EQ: arg == value; MASK: (arg & mask) == value; ABOVE: value < arg < CF_FD_END */
};
/* All 64 bits are compared, but the kernel looks at 32 of a descriptor: an upper bound keeps 3 from coming as 2^32 + 3. One ABOVE
 * in a rule. */
#define CF_FD_END 1024
#define CF_CONDS_MAX 3
struct cf_rule {
    const char *call;
    int number;
    unsigned classes; /* of threads that may: bits, meant by the table's owner */
    int refuse; /* 0: the call is made; else it fails with this errno (the C library knows another way) */
    unsigned cond_count;
    struct cf_cond conds[CF_CONDS_MAX];
    const char *why;
};
/* For tables: RULE(call, classes, why, conditions...) as one initializer; REFUSE(call, errno, classes, why). */
#define CF_RULE(call_, classes_, why_, ...)                                                        \
    {                                                                                              \
        .call = #call_, .number = SYS_##call_, .classes = (classes_), .why = (why_),               \
        .cond_count = sizeof((struct cf_cond[]){{0}, ##__VA_ARGS__}) / sizeof(struct cf_cond) - 1, \
        .conds = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define CF_REFUSE(call_, errno_, classes_, why_)                                          \
    {                                                                                     \
        .call = #call_, .number = SYS_##call_, .classes = (classes_), .refuse = (errno_), \
        .why = (why_)                                                                     \
    }
#define EQ(arg_, value_)                   \
    {                                      \
        arg_, CF_EQ, 0, (uint64_t)(value_) \
    }
#define MASK(arg_, mask_, value_)                            \
    {                                                        \
        arg_, CF_MASK, (uint64_t)(mask_), (uint64_t)(value_) \
    }
#define ABOVE(arg_, value_)                   \
    {                                         \
        arg_, CF_ABOVE, 0, (uint64_t)(value_) \
    }

/* Do the conditions hold? The number is not looked at. */
bool cf_rule_matches(const struct cf_rule *rule, const uint64_t args[6]);

/* The program for one class; what no rule allows kills the process (debug builds say first which call it was). */
struct cf_filter {
    void *code; /* struct sock_filter[count] */
    unsigned count;
};
/* Fails: ERR_NO_MEMORY; ERR_OS: the kernel has no seccomp filters. */
res_t cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                     struct cf_filter *f, struct err *err);
void cf_filter_free(struct cf_filter *f);
/* Put the outcome into the report. */
void cf_note_filter(struct cf_report *r, res_code_t res, const struct err *why);
/* For good, for the calling thread and all that it starts. Needs no_new_privs. Fails: ERR_OS. */
res_t cf_filter_enter(const struct cf_filter *f, struct err *err);

#endif
