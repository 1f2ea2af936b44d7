#include "client/vmctl/write.h"
#include "client/vmctl/ctl.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ctl_w_init(struct ctl_writer *w, struct buf *out, enum ctl_form form)
{
    *w = (struct ctl_writer){.out = out, .form = form};
}

static void put(struct ctl_writer *w, const char *s)
{
    buf_put(w->out, s, strlen(s));
}

static void new_line(struct ctl_writer *w, int levels)
{
    if (w->form == CTL_FORM_JSON_LINE)
        return;
    put(w, "\n");
    for (int i = 0; i < levels; i++)
        put(w, "  ");
}

/* In front of an entry of the innermost map or list. */
static void entry(struct ctl_writer *w)
{
    bool first = w->open[w->depth - 1].count++ == 0;
    if (w->form != CTL_FORM_YAML) {
        put(w, first ? "" : ",");
        new_line(w, w->depth);
    } else if (first && (w->open[w->depth - 1].same_line || w->depth == 1)) {
        put(w, w->depth == 1 ? "" : " ");
    } else {
        new_line(w, w->depth - 1);
    }
}

/* In front of any value. */
static void value(struct ctl_writer *w)
{
    bool in_map = w->depth && w->open[w->depth - 1].map;
    ASSERT(w->keyed == in_map);
    w->keyed = false;
    if (w->depth && !in_map) {
        entry(w);
        if (w->form == CTL_FORM_YAML)
            put(w, "-");
    }
}

static void open_it(struct ctl_writer *w, bool map)
{
    bool in_list = w->depth && !w->open[w->depth - 1].map;
    ASSERT(w->depth < CTL_DEPTH_MAX);
    value(w);
    w->open[w->depth].map = map;
    w->open[w->depth].same_line = in_list;
    w->open[w->depth++].count = 0;
    if (w->form != CTL_FORM_YAML)
        put(w, map ? "{" : "[");
}

void ctl_w_map(struct ctl_writer *w)
{
    open_it(w, true);
}

void ctl_w_list(struct ctl_writer *w)
{
    open_it(w, false);
}

void ctl_w_end(struct ctl_writer *w)
{
    ASSERT(w->depth && !w->keyed);
    w->depth--;
    bool map = w->open[w->depth].map, empty = w->open[w->depth].count == 0;
    if (w->form == CTL_FORM_YAML) {
        if (empty)
            put(w, w->depth == 0 ? (map ? "{}" : "[]") : map ? " {}" : " []");
        return;
    }
    if (!empty)
        new_line(w, w->depth);
    put(w, map ? "}" : "]");
}

/* As JSON has strings, which YAML takes too. */
static void quoted(struct ctl_writer *w, const char *s, size_t n)
{
    put(w, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            buf_printf(w->out, "\\%c", c);
        else if (c == '\n')
            put(w, "\\n");
        else if (c == '\t')
            put(w, "\\t");
        else if (c < 0x20 || c == 0x7f)
            buf_printf(w->out, "\\u%04x", c);
        else
            buf_put_u8(w->out, c);
    }
    put(w, "\"");
}

/* YAML would read it as a string without quotes: a letter, then letters, digits and few signs, and no word with a meaning. */
static bool plain_in_yaml(const char *s, size_t n)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n"};
    if (n == 0 || (!isalpha((unsigned char)s[0]) && s[0] != '/' && s[0] != '_') || s[n - 1] == ':')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !memchr("._-/+@:", s[i], 7))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strlen(words[i]) == n && !strncasecmp(words[i], s, n))
            return false;
    return true;
}

void ctl_w_key(struct ctl_writer *w, const char *name)
{
    ASSERT(w->depth && w->open[w->depth - 1].map && !w->keyed);
    entry(w);
    if (w->form == CTL_FORM_YAML && plain_in_yaml(name, strlen(name)))
        put(w, name);
    else
        quoted(w, name, strlen(name));
    put(w, w->form == CTL_FORM_JSON ? ": " : ":");
    w->keyed = true;
}

static void scalar(struct ctl_writer *w)
{
    value(w);
    if (w->form == CTL_FORM_YAML && w->depth)
        put(w, " ");
}

void ctl_w_string(struct ctl_writer *w, const char *s, size_t n)
{
    scalar(w);
    if (w->form == CTL_FORM_YAML && plain_in_yaml(s, n))
        buf_put(w->out, s, n);
    else
        quoted(w, s, n);
}

void ctl_w_plain(struct ctl_writer *w, const char *s)
{
    scalar(w);
    put(w, s);
}

void ctl_w_base64(struct ctl_writer *w, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    scalar(w);
    put(w, "\"");
    for (size_t i = 0; i < n; i += 3) {
        size_t have = MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (have > 2 ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], have > 1 ? digits[v >> 6 & 63] : '=',
                        have > 2 ? digits[v & 63] : '='};
        buf_put(w->out, four, 4);
    }
    put(w, "\"");
}

void ctl_w_text(struct ctl_writer *w, const char *key, const char *s)
{
    ctl_w_key(w, key);
    ctl_w_string(w, s, strlen(s));
}

void ctl_w_number(struct ctl_writer *w, const char *key, long long v)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", v);
    ctl_w_key(w, key);
    ctl_w_plain(w, text);
}

void ctl_w_double(struct ctl_writer *w, double v)
{
    char text[40];
    if (isnan(v) || isinf(v)) {
        const char *s = isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
        ctl_w_string(w, s, strlen(s));
        return;
    }
    for (int digits = 6; digits <= 17; digits += 11) { /* short where that is the same */
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    ctl_w_plain(w, text);
}

void ctl_w_finish(struct ctl_writer *w)
{
    ASSERT(w->depth == 0);
    put(w, "\n");
}

int ctl_w_print(struct ctl_writer *w)
{
    struct err err;
    int code = 0;
    ctl_w_finish(w);
    if (w->out->failed) {
        err_set(&err, ERR_NO_MEMORY, "no memory for the output");
        code = ctl_fail(&err);
    } else if (fwrite(w->out->data, 1, w->out->len, stdout) != w->out->len) {
        code = CTL_EXIT_ERROR;
    }
    buf_fini(w->out);
    return code;
}
