/*
 * base/err.h - errors as data: a code from err.def and one line of text.
 *
 * A function that can fail returns res_t and takes `struct err *err` last. The text is built once,
 * where the trouble was found; callers may put context in front of it with err_wrap() and pass it on;
 * it is reported once, at the top. On FAIL the out parameters are untouched. `err` may be NULL where
 * the caller does not want the text.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_code {
#define ERR(name, grpc, http, text) ERR_##name,
#include "engine/base/err.def"
#undef ERR
    ERR_CODE_COUNT
};

struct err {
    enum err_code code;
    int os;         /* errno, where a host call was the cause; else 0 */
    char text[400]; /* one line, no newline, UTF-8 */
    /* For programs, where it was said (err_explain); else NULL and "". */
    const char *reason; /* constant, UPPER_SNAKE_CASE: what exactly; NULL: the code's name will do */
    const char *type;   /* constant: what kind of object, "guest" */
    char object[128];   /* its name */
    const char *fix;    /* constant, one line: what to do about it */
};

typedef enum { OK = 0, FAIL = -1 } res_code_t;
#define res_t __attribute__((warn_unused_result)) res_code_t

/* Fill err and return FAIL: `return err_set(err, ERR_BAD_ELF, "segment %u ...", i);` */
res_code_t err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with ": strerror(errno)" behind the text. */
res_code_t err_set_os(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Say more to programs about the error that is there; each may be NULL. Returns FAIL: `return err_set(err, ...),
 * err_explain(err, "GUEST_RUNNING", "guest", g->name, "stop it or use force");` */
res_code_t err_explain(struct err *err, const char *reason, const char *type, const char *object,
                       const char *fix);
/* Put "fmt: " in front of the text that is there. */
res_code_t err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_name(enum err_code code); /* "BAD_ELF" */
int err_grpc(enum err_code code);         /* canonical gRPC status number */
int err_http(enum err_code code);

#endif
