/*
 * lint SOURCE [room=library...] - hold a tree to its FLOORPLAN and to the house's lengths.
 *
 * Reads SOURCE/FLOORPLAN and SOURCE/tests/lint/long.txt, walks the rooms' folders, and looks with nm at the external
 * symbols of each library given. Findings go to stdout; exit status 1 if one of them is an error.
 */
#include "tests/lint/lint.h"

#include <errno.h>
#include <fts.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int errors, warnings;

static void report(const char *kind, const char *place, int line, const char *fmt, va_list ap)
{
    printf("%s:", place);
    if (line)
        printf("%d:", line);
    printf(" %s", kind);
    vprintf(fmt, ap);
    printf("\n");
}

void lint_error(const char *place, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("", place, line, fmt, ap);
    va_end(ap);
    errors++;
}

void lint_warning(const char *place, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report("warning: ", place, line, fmt, ap);
    va_end(ap);
    warnings++;
}

void lint_die(const char *what, const char *why)
{
    fprintf(stderr, "lint: %s: %s\n", what, why);
    exit(2);
}

/* What a library of the engine may not call: output, and the end of the process. Assertions live in engine/base. */
static const char *const forbidden[] = {"exit",    "_exit",        "_Exit",  "quick_exit",
                                        "abort",   "printf",       "puts",   "putchar",
                                        "vprintf", "__printf_chk", "system", "popen"};

static void symbol_check(const struct room *r, char kind, const char *name)
{
    if (kind == 'U') {
        for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
            if (strncmp(r->path, "engine/", 7) == 0 && strcmp(r->path, "engine/base") != 0 &&
                strcmp(name, forbidden[i]) == 0)
                lint_error(r->path, 0, "calls %s(), which the engine may not", name);
        return;
    }
    if (strcmp(r->prefix, "-") != 0 && strcmp(name, "main") != 0 &&
        strncmp(name, r->prefix, strlen(r->prefix)) != 0)
        lint_error(r->path, 0, "external symbol %s has not the prefix %s", name, r->prefix);
}

void library_check(const struct plan *p, const char *room, const char *library)
{
    const struct room *r = plan_room_of(p, room);
    char line[4096], command[4096];
    if (!r)
        lint_die(room, "no such room");
    snprintf(command, sizeof command, "nm -g -P '%s' 2>/dev/null", library);
    FILE *f = popen(command, "r");
    if (!f)
        lint_die("nm", strerror(errno));
    int symbols = 0;
    while (fgets(line, sizeof line, f)) {
        char name[2048], kind;
        if (sscanf(line, "%2047s %c", name, &kind) == 2 && name[strlen(name) - 1] != ':') {
            symbols++;
            symbol_check(r, kind, name);
        }
    }
    if (pclose(f) != 0 || symbols == 0)
        lint_error(room, 0, "nm could not read %s", library);
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static void file_check(const struct plan *p, const char *root, const char *path)
{
    static const char *const text[] = {".def", ".isa", ".proto", ".cmake", ".sh", ".md"};
    bool tests = strncmp(path, "tests/", 6) == 0;
    if (ends_with(path, "CMakeLists.txt")) {
        cmake_check(p, root, path);
    } else if (ends_with(path, ".c") || ends_with(path, ".h") || ends_with(path, ".S")) {
        if (tests)
            text_check(root, path);
        else
            source_check(p, root, path);
    } else {
        for (size_t i = 0; i < sizeof text / sizeof *text; i++)
            if (ends_with(path, text[i]))
                text_check(root, path);
    }
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void walk(const struct plan *p, const char *root)
{
    FTS *fts = fts_open((char *[]){(char *)root, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    size_t n = strlen(root) + 1;
    if (!fts)
        lint_die(root, strerror(errno));
    for (FTSENT *e; (e = fts_read(fts));) {
        bool hidden = e->fts_level > 0 && e->fts_name[0] == '.';
        bool built = e->fts_level == 1 && strncmp(e->fts_name, "build", 5) == 0;
        if (e->fts_info == FTS_D && (hidden || built))
            fts_set(fts, e, FTS_SKIP);
        else if (e->fts_info == FTS_F && !hidden)
            file_check(p, root, e->fts_path + n);
    }
    fts_close(fts);
}

int main(int argc, char **argv)
{
    static struct plan plan;
    char path[4096];
    if (argc < 2) {
        fprintf(stderr, "usage: lint SOURCE [room=library...]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/FLOORPLAN", argv[1]);
    plan_read(&plan, path);
    snprintf(path, sizeof path, "%s/tests/lint/long.txt", argv[1]);
    plan_read_lengths(&plan, path);
    walk(&plan, argv[1]);
    for (int i = 2; i < argc; i++) {
        char *library = strchr(argv[i], '=');
        if (!library)
            lint_die(argv[i], "room=library is wanted");
        *library++ = 0;
        library_check(&plan, argv[i], library);
    }
    printf("%d error(s), %d warning(s)\n", errors, warnings);
    return errors != 0;
}
