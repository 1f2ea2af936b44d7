/* The generator's main program; see isagen.h. */
#include "engine/isa/gen/isagen.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const gen_slot_names[SLOT_COUNT] = {"rd", "rs1", "rs2", "rs3", "rm", "aqrl", "imm"};
const char *const gen_kind_names[KIND_COUNT] = {"x", "f", "x8", "f8", "s", "u"};
const char *const gen_class_names[CLASS_COUNT] = {
    [CLASS_PRIVILEGED] = "privileged", [CLASS_CONTROL] = "control",
    [CLASS_LOCATION] = "location",     [CLASS_MODE] = "mode",
    [CLASS_RESOURCE] = "resource",     [CLASS_INNOCUOUS] = "innocuous",
    [CLASS_TRAPPING] = "trapping",
};

void gen_fail(const struct table *t, unsigned line, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s:%u: error: ", t->path, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

void *gen_grow(void *array, unsigned count, size_t element_bytes)
{
    if (count & (count - 1)) /* room for the next power of two was made before */
        return array;
    array = realloc(array, (count ? 2 * (size_t)count : 1) * element_bytes);
    if (!array) {
        perror("isagen");
        exit(1);
    }
    return array;
}

static void write_file(const char *path, const struct table *t,
                       void (*emit)(const struct table *, FILE *))
{
    FILE *out = fopen(path, "w");
    if (out) {
        emit(t, out);
        if (!ferror(out) && !fclose(out))
            return;
    }
    perror(path);
    remove(path);
    exit(1);
}

static struct table
    table; /* static, so that what it owns counts as reachable when the program ends */

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 2) {
        fprintf(stderr, "usage: isagen TABLE [HEADER SOURCE]\n");
        return 2;
    }
    table.path = argv[1];
    FILE *in = fopen(argv[1], "r");
    if (!in) {
        perror(argv[1]);
        return 1;
    }
    gen_parse(&table, in);
    fclose(in);
    gen_check(&table);
    if (argc == 2)
        return 0;
    write_file(argv[2], &table, gen_emit_header);
    write_file(argv[3], &table, gen_emit_source);
    return 0;
}
