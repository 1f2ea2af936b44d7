#include "client/vmctl/out.h"

#include <stdlib.h>
#include <string.h>

/* The words of -o, in the order of enum ctl_print. */
static const char *const forms[] = {"table", "wide", "json", "jsonl", "yaml", "name"};

res_t ctl_out_init(struct ctl_out *o, const struct ctl_args *a, enum ctl_table table,
                   enum ctl_print print, struct err *err)
{
    const char *s = ctl_value(a, OPT_OUTPUT);
    *o = (struct ctl_out){.table = table, .print = print};
    if (s) {
        unsigned i = 0;
        while (i < ARRAY_LEN(forms) && strcmp(s, forms[i]) != 0)
            i++;
        if (i == ARRAY_LEN(forms))
            return err_set(err, ERR_INVALID, "--output %.40s: %s was expected", s,
                           ctl_options[OPT_OUTPUT].arg);
        o->print = (enum ctl_print)i;
    } else if (ctl_has(a, OPT_QUIET)) {
        o->print = CTL_PRINT_NAME;
    }
    o->headers = !ctl_has(a, OPT_NO_HEADERS);
    o->colours = ctl_colours(stdout);
    return OK;
}

void ctl_cell(const struct ctl_column *c, const void *row, char *out, size_t cap)
{
    struct buf b = {0};
    c->cell(&b, row);
    size_t n = MIN(b.len, cap - 1);
    if (n)
        memcpy(out, b.data, n);
    out[n] = 0;
    buf_fini(&b);
}

/* ---- tables ---- */

static bool shown(const struct ctl_out *o, const struct ctl_column *c)
{
    return c->table == o->table && !(c->flags & CTL_COLUMN_UNSEEN) &&
           (!(c->flags & CTL_COLUMN_WIDE) || o->print == CTL_PRINT_WIDE);
}

/* Characters, not bytes, of UTF-8. */
static int columns_of(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

static const char *colour_of(const char *text)
{
    static const struct {
        const char *word, *colour;
    } colours[] = {{"running", "\033[32m"}, {"exit 0", ""},          {"exit", "\033[33m"},
                   {"ok", "\033[32m"},      {"warning", "\033[33m"}, {"failed", "\033[31m"},
                   {"signal", "\033[31m"},  {"limit", "\033[31m"},   {"paused", "\033[36m"}};
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        if (!strncmp(text, colours[i].word, strlen(colours[i].word)))
            return colours[i].colour;
    return "";
}

static void print_cell(const struct ctl_out *o, const struct ctl_column *c, const char *text,
                       int width, bool last)
{
    bool state = o->colours && (!strcmp(c->heading, "STATE") || !strcmp(c->heading, "VERDICT"));
    const char *colour = state ? colour_of(text) : "";
    int pad = last ? 0 : MAX(width - columns_of(text), 0) + 1;
    printf("%s%s%s%*s", colour, text, colour[0] ? "\033[0m" : "", pad, "");
}

static void print_row(const struct ctl_out *o, char **cells, const int *widths)
{
    size_t at = 0, last = 0; /* the last that has a text: nothing is padded behind it */
    for (size_t i = 0; i < ctl_column_count; i++)
        if (shown(o, &ctl_columns[i]) && *(cells ? cells[at++] : ctl_columns[i].heading))
            last = i;
    at = 0;
    for (size_t i = 0; i <= last; i++)
        if (shown(o, &ctl_columns[i]))
            print_cell(o, &ctl_columns[i], cells ? cells[at++] : ctl_columns[i].heading, widths[i],
                       i == last);
    putchar('\n');
}

static size_t shown_count(const struct ctl_out *o)
{
    size_t n = 0;
    for (size_t i = 0; i < ctl_column_count; i++)
        n += shown(o, &ctl_columns[i]);
    return n;
}

static void print_table(struct ctl_out *o)
{
    int *widths = calloc(ctl_column_count, sizeof *widths);
    size_t n = shown_count(o), at = 0;
    ASSERT(widths);
    for (size_t i = 0; i < ctl_column_count; i++) {
        if (!shown(o, &ctl_columns[i]))
            continue;
        widths[i] = MAX(ctl_columns[i].width, columns_of(ctl_columns[i].heading));
        for (size_t k = at; k < o->cell_count; k += n)
            widths[i] = MAX(widths[i], columns_of(o->cells[k]));
        at++;
    }
    if (o->headers)
        print_row(o, NULL, widths);
    for (size_t k = 0; k + n <= o->cell_count; k += n)
        print_row(o, o->cells + k, widths);
    free(widths);
    for (size_t k = 0; k < o->cell_count; k++)
        free(o->cells[k]);
    o->cell_count = 0;
    o->headers = false; /* once */
}

static void keep_cells(struct ctl_out *o, const void *row)
{
    for (size_t i = 0; i < ctl_column_count; i++) {
        struct buf b = {0};
        if (!shown(o, &ctl_columns[i]))
            continue;
        ctl_columns[i].cell(&b, row);
        buf_put_u8(&b, 0);
        if (o->cell_count == o->cell_room) {
            o->cell_room = o->cell_room ? 2 * o->cell_room : 256;
            o->cells = realloc(o->cells, o->cell_room * sizeof *o->cells);
        }
        ASSERT(o->cells && !b.failed);
        o->cells[o->cell_count++] = (char *)b.data;
    }
}

/* ---- the rest ---- */

static void print_text(struct ctl_out *o)
{
    ASSERT(!o->text.failed);
    fwrite(o->text.data, 1, o->text.len, stdout);
    o->text.len = 0;
}

static void print_name(struct ctl_out *o, const void *row)
{
    const struct ctl_column *name = NULL;
    char text[300];
    for (size_t i = ctl_column_count; i-- > 0;)
        if (ctl_columns[i].table == o->table && (!name || !(name->flags & CTL_COLUMN_NAME)))
            name = &ctl_columns[i];
    ctl_cell(name, row, text, sizeof text);
    puts(text);
}

static void emit_row(struct ctl_out *o, const void *row)
{
    bool line = o->print == CTL_PRINT_JSONL;
    bool alone = line || o->one || o->stream;
    if (alone || o->rows == 1)
        ctl_w_init(&o->w, &o->text,
                   line                         ? CTL_FORM_JSON_LINE
                   : o->print == CTL_PRINT_YAML ? CTL_FORM_YAML
                   : o->stream                  ? CTL_FORM_JSON_LINE
                                                : CTL_FORM_JSON);
    if (o->print == CTL_PRINT_YAML && alone && !o->one)
        buf_printf(&o->text, "---\n");
    if (!alone && o->rows == 1)
        ctl_w_list(&o->w);
    ctl_emitters[o->table](&o->w, row);
    if (alone) {
        ctl_w_finish(&o->w);
        print_text(o);
    }
}

void ctl_out_row(struct ctl_out *o, const void *row)
{
    o->rows++;
    if (o->print == CTL_PRINT_NAME) {
        print_name(o, row);
    } else if (o->print == CTL_PRINT_TABLE || o->print == CTL_PRINT_WIDE) {
        keep_cells(o, row);
        if (o->stream)
            print_table(o);
    } else {
        emit_row(o, row);
    }
    if (o->stream)
        fflush(stdout);
}

void ctl_out_drop(struct ctl_out *o)
{
    for (size_t k = 0; k < o->cell_count; k++)
        free(o->cells[k]);
    free(o->cells);
    buf_fini(&o->text);
    o->cells = NULL;
    o->cell_count = 0;
}

int ctl_out_end(struct ctl_out *o)
{
    bool array =
        (o->print == CTL_PRINT_JSON || o->print == CTL_PRINT_YAML) && !o->one && !o->stream;
    if (o->print == CTL_PRINT_TABLE || o->print == CTL_PRINT_WIDE) {
        if (!o->stream || o->headers)
            print_table(o);
    } else if (array) {
        if (o->rows == 0) {
            ctl_w_init(&o->w, &o->text, o->print == CTL_PRINT_JSON ? CTL_FORM_JSON : CTL_FORM_YAML);
            ctl_w_list(&o->w);
        }
        ctl_w_end(&o->w);
        ctl_w_finish(&o->w);
        print_text(o);
    }
    ctl_out_drop(o);
    return ferror(stdout) ? CTL_EXIT_ERROR : 0;
}
