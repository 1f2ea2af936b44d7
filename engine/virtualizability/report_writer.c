#include "engine/virtualizability/report_writer.h"

#include "engine/base/base.h"
#include "engine/virtualizability/report.h"

#include <inttypes.h>
#include <string.h>

/* JSON's escapes, which YAML's double quotes know too; whatever YAML takes for not printable is escaped. */
static void quoted(struct buf *out, const char *text)
{
    buf_put_u8(out, '"');
    for (uint32_t c; (c = pg_utf8_next(&text));) {
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            buf_put(out, "\\n", 2);
        else if (c == '\t')
            buf_put(out, "\\t", 2);
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
                 c == 0xfffe || c == 0xffff)
            buf_printf(out, "\\u%04x", c);
        else
            pg_utf8_put(out, c);
    }
    buf_put_u8(out, '"');
}

/* A key; in YAML without quotes where no reader could take it for anything but a text. */
static void put_key(struct pg_writer *w, const char *key)
{
    static const char *const taken[] = {"y",   "n",    "yes",   "no",  "on",
                                        "off", "true", "false", "null"};
    bool plain = w->yaml && *key >= 'a' && *key <= 'z';
    for (const char *c = key; plain && *c; c++)
        plain = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_';
    for (size_t i = 0; plain && i < ARRAY_LEN(taken); i++)
        plain = strcmp(key, taken[i]) != 0;
    if (plain)
        buf_printf(w->out, "%s", key);
    else
        quoted(w->out, key);
    buf_put_u8(w->out, ':');
}

/* A new line, and what stands before a value on it. */
static void begin(struct pg_writer *w, const char *key)
{
    if (w->depth == 0)
        return;
    bool list = w->level[w->depth - 1].list, used = w->level[w->depth - 1].used;
    w->level[w->depth - 1].used = true;
    if (w->yaml) {
        /* the first key of a map in a list stands behind the list's dash */
        bool behind_dash = !used && w->depth > 1 && w->level[w->depth - 2].list;
        if (!behind_dash && (used || w->depth > 1))
            buf_put_u8(w->out, '\n');
        if (!behind_dash)
            buf_printf(w->out, "%*s", (int)(2 * (w->depth - 1)), "");
        if (list)
            buf_put(w->out, "- ", 2);
        else
            put_key(w, key);
        return;
    }
    buf_printf(w->out, "%s\n%*s", used ? "," : "", (int)(2 * w->depth), "");
    if (!list) {
        put_key(w, key);
        buf_put_u8(w->out, ' ');
    }
}

/* YAML: the space between a key's colon and a value on its line. */
static void space(struct pg_writer *w)
{
    if (w->yaml && w->depth && !w->level[w->depth - 1].list)
        buf_put_u8(w->out, ' ');
}

static void open_level(struct pg_writer *w, const char *key, bool list)
{
    ASSERT(w->depth < WRITER_DEPTH_MAX);
    begin(w, key);
    if (!w->yaml)
        buf_put_u8(w->out, list ? '[' : '{');
    w->level[w->depth].list = list;
    w->level[w->depth].used = false;
    w->depth++;
}

void pg_writer_map(struct pg_writer *w, const char *key)
{
    open_level(w, key, false);
}

void pg_writer_list(struct pg_writer *w, const char *key)
{
    open_level(w, key, true);
}

void pg_writer_end(struct pg_writer *w)
{
    ASSERT(w->depth);
    w->depth--;
    bool list = w->level[w->depth].list, used = w->level[w->depth].used;
    if (w->yaml && !used) {
        space(w);
        buf_put(w->out, list ? "[]" : "{}", 2);
    } else if (!w->yaml) {
        if (used)
            buf_printf(w->out, "\n%*s", (int)(2 * w->depth), "");
        buf_put_u8(w->out, list ? ']' : '}');
    }
    if (w->depth == 0)
        buf_put_u8(w->out, '\n');
}

void pg_writer_text(struct pg_writer *w, const char *key, const char *value)
{
    begin(w, key);
    space(w);
    if (value)
        quoted(w->out, value);
    else
        buf_put(w->out, "null", 4);
}

void pg_writer_number(struct pg_writer *w, const char *key, uint64_t value)
{
    begin(w, key);
    space(w);
    buf_printf(w->out, "%" PRIu64, value);
}

void pg_writer_hex(struct pg_writer *w, const char *key, uint64_t value)
{
    begin(w, key);
    space(w);
    buf_printf(w->out, "\"0x%" PRIx64 "\"", value);
}

void pg_writer_bool(struct pg_writer *w, const char *key, bool value)
{
    begin(w, key);
    space(w);
    buf_printf(w->out, value ? "true" : "false");
}
