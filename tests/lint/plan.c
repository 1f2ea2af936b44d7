/* plan.c - reads FLOORPLAN and answers who may see whom. */
#include "tests/lint/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *s)
{
    char *c = strdup(s);
    if (!c)
        lint_die("memory", "none");
    return c;
}

static size_t split(char *line, char **word, size_t max)
{
    size_t n = 0;
    for (char *save = NULL, *w = strtok_r(line, " \t\n", &save); w;
         w = strtok_r(NULL, " \t\n", &save)) {
        if (n == max)
            lint_die("FLOORPLAN", "a line has too many words");
        word[n++] = copy(w);
    }
    return n;
}

static void add_room(struct plan *p, char **word, size_t n, int line)
{
    if (n < 2)
        lint_error("FLOORPLAN", line, "a room needs a prefix, or -");
    for (size_t i = 0; i < p->rooms; i++)
        if (strcmp(p->room[i].path, word[0]) == 0)
            lint_error("FLOORPLAN", line, "room %s is there twice", word[0]);
    if (n < 2 || p->rooms == MAX_ROOMS)
        return;
    struct room *r = &p->room[p->rooms++];
    r->path = word[0];
    r->prefix = word[1];
    for (size_t i = 2; i < n; i++)
        r->sees[r->sees_count++] = word[i];
}

static void add_rule(struct rule *rules, size_t *count, char **word, size_t n)
{
    if (*count == MAX_RULES)
        lint_die("FLOORPLAN", "too many rules");
    struct rule *r = &rules[(*count)++];
    r->what = word[0];
    for (size_t i = 1; i < n; i++)
        r->rooms[r->rooms_count++] = word[i];
}

static void check_names(const struct plan *p)
{
    for (size_t i = 0; i < p->rooms; i++)
        for (size_t j = 0; j < p->room[i].sees_count; j++) {
            const char *name = p->room[i].sees[j];
            bool known = strchr(name, '*') != NULL;
            for (size_t k = 0; k < p->rooms; k++)
                known |=
                    strcmp(p->room[k].path, name + (strncmp(name, "what:", 5) == 0 ? 5 : 0)) == 0;
            if (!known)
                lint_error("FLOORPLAN", 0, "%s looks into %s, which is no room", p->room[i].path,
                           name);
        }
}

void plan_read(struct plan *p, const char *path)
{
    enum { ROOMS, HEADERS, WORDS } part = ROOMS;
    char line[4096], *word[MAX_NAMES];
    int nr = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        lint_die(path, "cannot be read");
    while (fgets(line, sizeof line, f)) {
        nr++;
        if (line[0] == '#') {
            if (strncmp(line, "# header ", 9) == 0)
                part = HEADERS;
            else if (strncmp(line, "# word ", 7) == 0)
                part = WORDS;
            continue;
        }
        size_t n = split(line, word, MAX_NAMES);
        if (n == 0)
            continue;
        if (part == ROOMS)
            add_room(p, word, n, nr);
        else if (part == HEADERS)
            add_rule(p->header, &p->headers, word, n);
        else
            add_rule(p->word, &p->words, word, n);
    }
    fclose(f);
    if (p->rooms == 0)
        lint_error("FLOORPLAN", 0, "no rooms");
    check_names(p);
}

void plan_read_lengths(struct plan *p, const char *path)
{
    char line[4096], *word[MAX_NAMES];
    FILE *f = fopen(path, "r");
    int nr = 0;
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        nr++;
        if (line[0] == '#')
            continue;
        size_t n = split(line, word, MAX_NAMES);
        if (n && n < 3)
            lint_error("tests/lint/long.txt", nr, "needs a path, a function or -, and the reason");
        else if (n)
            add_rule(p->length, &p->lengths, word, 2);
    }
    fclose(f);
}

bool plan_covers(const char *name, const char *room)
{
    size_t n = strlen(name);
    if (n >= 2 && strcmp(name + n - 2, "/*") == 0)
        return strncmp(name, room, n - 1) == 0;
    return strncmp(name, room, n) == 0 && (room[n] == 0 || room[n] == '/');
}

const struct room *plan_room_of(const struct plan *p, const char *path)
{
    const struct room *best = NULL;
    for (size_t i = 0; i < p->rooms; i++)
        if (plan_covers(p->room[i].path, path) &&
            (!best || strlen(p->room[i].path) > strlen(best->path)))
            best = &p->room[i];
    return best;
}

static bool sees(const struct plan *p, const struct room *from, const struct room *to, int depth)
{
    for (size_t i = 0; i < from->sees_count; i++) {
        const char *name = from->sees[i];
        if (strncmp(name, "what:", 5) == 0) {
            const struct room *via = plan_room_of(p, name + 5);
            if (via && (via == to || (depth < 8 && sees(p, via, to, depth + 1))))
                return true;
        } else if (strcmp(name, to->path) == 0 ||
                   (strchr(name, '*') && plan_covers(name, to->path))) {
            return true;
        }
    }
    return false;
}

bool plan_may_see(const struct plan *p, const struct room *from, const struct room *to)
{
    return from == to || strcmp(to->path, "engine/base") == 0 || sees(p, from, to, 0);
}
