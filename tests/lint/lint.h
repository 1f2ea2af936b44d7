/*
 * lint.h - what the parts of the lint share: the floor plan and the reporter.
 *
 * Looks into: nothing.  Life: one run over one tree; memory is never freed.
 */
#ifndef LINT_H
#define LINT_H

#include <stdbool.h>
#include <stddef.h>

#define MAX_ROOMS 100
#define MAX_RULES 100
#define MAX_NAMES 40

struct room {
    char *path, *prefix; /* prefix "-": none wanted */
    char *sees[MAX_NAMES];
    size_t sees_count;
};

/* A header (exact, or a folder ending in /) or a word, and the rooms that may use it. */
struct rule {
    char *what;
    char *rooms[MAX_NAMES];
    size_t rooms_count;
};

struct plan {
    struct room room[MAX_ROOMS];
    struct rule header[MAX_RULES], word[MAX_RULES], length[MAX_RULES];
    size_t rooms, headers, words, lengths;
};

/* One finding: `place:line: text` on stdout; line 0 is left out. Errors make the run fail, warnings do not. */
void lint_error(const char *place, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void lint_warning(const char *place, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void lint_die(const char *what, const char *why);

void plan_read(struct plan *p, const char *path);
/* tests/lint/long.txt: files and functions that may be long, each with its reason. */
void plan_read_lengths(struct plan *p, const char *path);
/* The room with the longest path that is `path` or a folder above it; NULL. */
const struct room *plan_room_of(const struct plan *p, const char *path);
bool plan_may_see(const struct plan *p, const struct room *from, const struct room *to);
/* `name` is the room or a folder above it, or "all below": "engine/" followed by a star. */
bool plan_covers(const char *name, const char *room);

/* Sources (.c .h .S) of a room get every check; other text only that of white space. path is relative to the tree. */
void source_check(const struct plan *p, const char *root, const char *path);
void text_check(const char *root, const char *path);
/* vv_room(...) lines of a CMakeLists.txt against the plan. */
void cmake_check(const struct plan *p, const char *root, const char *path);
/* External symbols of a room's library, by nm. */
void library_check(const struct plan *p, const char *room, const char *library);

#endif
