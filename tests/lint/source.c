/* source.c - what one file may hold: includes, words, lengths, white space. */
#include "tests/lint/lint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_WARN = 600, FILE_MAX = 800, FUNCTION_WARN = 70, FUNCTION_MAX = 120 };

static FILE *open_file(const char *root, const char *path)
{
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", root, path);
    FILE *f = fopen(full, "r");
    if (!f)
        lint_die(full, "cannot be read");
    return f;
}

/* Blank out comments and the inside of strings; *in_comment goes from line to line. */
static void strip(char *s, bool *in_comment)
{
    char quote = 0;
    for (; *s && *s != '\n'; s++) {
        if (*in_comment) {
            if (s[0] == '*' && s[1] == '/') {
                *in_comment = false;
                *s++ = ' ';
            }
            *s = ' ';
        } else if (quote) {
            if (*s == quote) {
                quote = 0;
                continue;
            }
            if (*s == '\\' && s[1] && s[1] != '\n')
                *s++ = ' ';
            *s = ' ';
        } else if (s[0] == '/' && s[1] == '*') {
            *in_comment = true;
            *s++ = ' ';
            *s = ' ';
        } else if (s[0] == '/' && s[1] == '/') {
            *s = 0;
            return;
        } else if (*s == '"' || *s == '\'') {
            quote = *s;
        }
    }
}

static bool allowed(const struct rule *r, const struct room *room)
{
    for (size_t i = 0; i < r->rooms_count; i++)
        if (plan_covers(r->rooms[i], room->path))
            return true;
    return false;
}

static void include_check(const struct plan *p, const struct room *room, const char *path, int line,
                          const char *text)
{
    const char *s = text + strspn(text, " \t");
    if (*s++ != '#')
        return;
    s += strspn(s, " \t");
    if (strncmp(s, "include", 7) != 0)
        return;
    s += 7 + strspn(s + 7, " \t");
    char name[512];
    size_t n = *s == '"' || *s == '<' ? strcspn(s + 1, *s == '"' ? "\"" : ">") : 0;
    if (n == 0 || n >= sizeof name)
        return;
    memcpy(name, s + 1, n);
    name[n] = 0;
    for (size_t i = 0; i < p->headers; i++) {
        const struct rule *r = &p->header[i];
        size_t len = strlen(r->what);
        bool hit =
            r->what[len - 1] == '/' ? strncmp(name, r->what, len) == 0 : strcmp(name, r->what) == 0;
        if (hit && !allowed(r, room))
            lint_error(path, line, "<%s> may not be included in %s", name, room->path);
    }
    if (*s == '<')
        return;
    const struct room *to = plan_room_of(p, name);
    if (!to)
        lint_error(path, line,
                   "\"%s\": write the path from the top, beginning with a room of FLOORPLAN", name);
    else if (!plan_may_see(p, room, to))
        lint_error(path, line, "%s may not look into %s (\"%s\")", room->path, to->path, name);
}

static bool is_word_char(int c)
{
    return isalnum(c) || c == '_';
}

static void words_check(const struct plan *p, const struct room *room, const char *path, int line,
                        const char *code)
{
    for (size_t i = 0; i < p->words; i++) {
        const struct rule *r = &p->word[i];
        size_t n = strlen(r->what);
        if (allowed(r, room))
            continue;
        for (const char *s = code; (s = strstr(s, r->what)); s += n)
            if ((s == code || !is_word_char((unsigned char)s[-1])) &&
                !is_word_char((unsigned char)s[n])) {
                lint_error(path, line, "%s may not be used in %s", r->what, room->path);
                break;
            }
    }
}

static void space_check(const char *path, int line, const char *s)
{
    size_t n = strcspn(s, "\n");
    if (memchr(s, '\t', n))
        lint_error(path, line, "a tab");
    if (n && (s[n - 1] == ' ' || s[n - 1] == '\r'))
        lint_error(path, line, "white space at the end of the line");
}

static bool may_be_long(const struct plan *p, const char *path, const char *function)
{
    for (size_t i = 0; i < p->lengths; i++)
        if (strcmp(p->length[i].what, path) == 0 && strcmp(p->length[i].rooms[0], function) == 0)
            return true;
    return false;
}

static void length_check(const struct plan *p, const char *path, int line, const char *function,
                         int lines, int warn, int max)
{
    bool file = strcmp(function, "-") == 0;
    if (lines <= warn || may_be_long(p, path, function))
        return;
    if (lines > max)
        lint_error(path, line, "%s%s is %d lines long, at most %d", file ? "the file" : function,
                   file ? "" : "()", lines, max);
    else
        lint_warning(path, line, "%s%s is %d lines long: one thing?", file ? "the file" : function,
                     file ? "" : "()", lines);
}

/* Functions by the house's layout: the braces of a body stand in the first column. */
struct function {
    char name[128];
    int start, body; /* body 0: none open */
};

static void function_step(const struct plan *p, struct function *f, const char *path, int line,
                          const char *code)
{
    if (f->body && code[0] == '}') {
        length_check(p, path, f->start, f->name, line - f->body - 1, FUNCTION_WARN, FUNCTION_MAX);
        f->body = 0;
    } else if (!f->body && code[0] == '{') {
        f->body = line;
    } else if (!f->body && (isalpha((unsigned char)code[0]) || code[0] == '_')) {
        const char *paren = strchr(code, '('), *end = paren;
        if (!paren)
            return;
        while (end > code && !is_word_char((unsigned char)end[-1]))
            end--;
        const char *begin = end;
        while (begin > code && is_word_char((unsigned char)begin[-1]))
            begin--;
        snprintf(f->name, sizeof f->name, "%.*s", (int)(end - begin), begin);
        f->start = line;
    }
}

void source_check(const struct plan *p, const char *root, const char *path)
{
    const struct room *room = plan_room_of(p, path);
    struct function function = {.body = 0};
    bool in_comment = false;
    char line[8192];
    int nr = 0;
    FILE *f = open_file(root, path);
    if (!room)
        lint_error(path, 0, "the file is in no room of FLOORPLAN");
    while (fgets(line, sizeof line, f)) {
        nr++;
        space_check(path, nr, line);
        if (room && !in_comment)
            include_check(p, room, path, nr, line);
        strip(line, &in_comment);
        if (room)
            words_check(p, room, path, nr, line);
        function_step(p, &function, path, nr, line);
    }
    fclose(f);
    length_check(p, path, 0, "-", nr, FILE_WARN, FILE_MAX);
}

void text_check(const char *root, const char *path)
{
    char line[8192];
    int nr = 0;
    FILE *f = open_file(root, path);
    while (fgets(line, sizeof line, f))
        space_check(path, ++nr, line);
    fclose(f);
}

/* Who implements an interface of another room may be linked wherever the interface is seen. */
static const struct {
    const char *interface, *implementer;
} implements[] = {{"engine/cpu", "engine/memory"}}; /* cpu/access.h */

static bool may_link(const struct plan *p, const struct room *from, const struct room *to)
{
    if (plan_may_see(p, from, to))
        return true;
    for (size_t i = 0; i < sizeof implements / sizeof *implements; i++) {
        const struct room *interface = plan_room_of(p, implements[i].interface);
        if (interface && strcmp(to->path, implements[i].implementer) == 0 &&
            plan_may_see(p, from, interface))
            return true;
    }
    return false;
}

void cmake_check(const struct plan *p, const char *root, const char *path)
{
    char line[8192];
    int nr = 0;
    FILE *f = open_file(root, path);
    while (fgets(line, sizeof line, f)) {
        nr++;
        space_check(path, nr, line);
        if (strncmp(line, "vv_room(", 8) != 0)
            continue;
        char *save = NULL, *name = strtok_r(line + 8, " )\n", &save);
        const struct room *from = NULL;
        for (size_t i = 0; name && i < p->rooms; i++)
            if (strcmp(p->room[i].path, name) == 0)
                from = &p->room[i];
        if (!from) {
            lint_error(path, nr, "vv_room(%s): no room of FLOORPLAN", name ? name : "");
            continue;
        }
        while ((name = strtok_r(NULL, " )\n", &save))) {
            const struct room *to = plan_room_of(p, name);
            if (!to)
                lint_error(path, nr, "%s links %s, which is no room of FLOORPLAN", from->path,
                           name);
            else if (!may_link(p, from, to))
                lint_error(path, nr, "%s may not link %s", from->path, to->path);
        }
    }
    fclose(f);
}
