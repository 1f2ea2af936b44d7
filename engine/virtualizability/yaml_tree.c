/* A YAML document as a tree: see yaml_tree.h. */
#include "engine/virtualizability/yaml_tree.h"

#include "engine/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    struct pg_yaml *y;
    yaml_parser_t parser;
    unsigned nodes, depth;
    struct err *err;
};

res_t pg_yaml_fail(const struct pg_yaml *y, const struct pg_node *at, struct err *err,
                   const char *fmt, ...)
{
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_INVALID, "%s:%u:%u: %s", y->file, at->line, at->column, text);
}

static res_code_t syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->err, ERR_NO_MEMORY, "no memory for %s", r->y->file);
    bool place = p->error != YAML_READER_ERROR;
    return err_set(r->err, ERR_INVALID, "%s:%zu:%zu: %s%s%s; YAML was expected", r->y->file,
                   place ? p->problem_mark.line + 1 : p->mark.line + 1,
                   place ? p->problem_mark.column + 1 : p->mark.column + 1,
                   p->context ? p->context : "", p->context ? ": " : "",
                   p->problem ? p->problem : "this is no YAML");
}

static res_code_t next(struct reader *r, yaml_event_t *e)
{
    return yaml_parser_parse(&r->parser, e) ? OK : syntax(r);
}

static res_code_t place_fail(struct reader *r, const yaml_event_t *e, const char *what)
{
    return err_set(r->err, ERR_INVALID, "%s:%zu:%zu: %s", r->y->file, e->start_mark.line + 1,
                   e->start_mark.column + 1, what);
}

static struct pg_node *new_node(struct reader *r, const yaml_event_t *e, enum pg_node_kind kind)
{
    if (++r->nodes > PG_NODES_MAX) {
        (void)!place_fail(r, e, "too many values in the file");
        return NULL;
    }
    struct pg_node *n = arena_zalloc(r->y->arena, sizeof *n);
    if (!n) {
        (void)!err_set(r->err, ERR_NO_MEMORY, "no memory for %s", r->y->file);
        return NULL;
    }
    n->kind = kind;
    n->line = (unsigned)e->start_mark.line + 1;
    n->column = (unsigned)e->start_mark.column + 1;
    return n;
}

static res_code_t read_node(struct reader *r, yaml_event_t *e, struct pg_node **out);

static res_code_t add_child(struct reader *r, struct pg_node *parent, struct pg_node *child)
{
    if (child->key && parent->count == PG_KEYS_MAX) /* unique keys cost the square of it */
        return pg_yaml_fail(r->y, child->key, r->err, "too many keys in one map: at most %u",
                            PG_KEYS_MAX);
    if (child->key)
        for (struct pg_node *c = parent->first; c; c = c->next)
            if (!strcmp(c->key->text, child->key->text))
                return pg_yaml_fail(r->y, child->key, r->err,
                                    "\"%.60s\" is there twice; the first is in line %u",
                                    child->key->text, c->key->line);
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
    return OK;
}

/* Children up to the event that ends them. */
static res_code_t read_children(struct reader *r, struct pg_node *n, yaml_event_type_t end)
{
    for (;;) {
        yaml_event_t e;
        struct pg_node *child, *key = NULL;
        if (next(r, &e) != OK)
            return FAIL;
        if (e.type == end) {
            yaml_event_delete(&e);
            return OK;
        }
        if (read_node(r, &e, &child) != OK)
            return FAIL;
        if (n->kind == PG_N_MAP) {
            key = child;
            if (key->kind != PG_N_SCALAR)
                return pg_yaml_fail(r->y, key, r->err, "a name was expected as key");
            if (next(r, &e) != OK || read_node(r, &e, &child) != OK)
                return FAIL;
        }
        child->key = key;
        if (add_child(r, n, child) != OK)
            return FAIL;
    }
}

/* Takes the event. */
static res_code_t read_node(struct reader *r, yaml_event_t *e, struct pg_node **out)
{
    res_code_t res = FAIL;
    struct pg_node *n = NULL;
    if (r->depth >= PG_YAML_DEPTH_MAX) {
        res = place_fail(r, e, "nested too deep");
    } else if (e->type == YAML_ALIAS_EVENT) {
        res = place_fail(r, e, "aliases are not taken; the value itself was expected");
    } else if (e->type == YAML_SCALAR_EVENT) {
        if ((n = new_node(r, e, PG_N_SCALAR))) {
            yaml_scalar_style_t style = e->data.scalar.style;
            n->plain = style == YAML_PLAIN_SCALAR_STYLE;
            n->literal = style == YAML_LITERAL_SCALAR_STYLE;
            n->text = arena_strdup(r->y->arena, (const char *)e->data.scalar.value);
            res = n->text ? OK : err_set(r->err, ERR_NO_MEMORY, "no memory for %s", r->y->file);
        }
    } else if (e->type == YAML_SEQUENCE_START_EVENT || e->type == YAML_MAPPING_START_EVENT) {
        bool list = e->type == YAML_SEQUENCE_START_EVENT;
        r->depth++;
        if ((n = new_node(r, e, list ? PG_N_LIST : PG_N_MAP)))
            res = read_children(r, n, list ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT);
        r->depth--;
    } else {
        res = place_fail(r, e, "a value was expected");
    }
    yaml_event_delete(e);
    *out = n;
    return res;
}

static res_code_t read_document(struct reader *r)
{
    yaml_event_t e;
    for (;;) {
        if (next(r, &e) != OK)
            return FAIL;
        if (e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_START_EVENT) {
            yaml_event_delete(&e);
            continue;
        }
        if (e.type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&e);
            return err_set(r->err, ERR_INVALID, "%s:1:1: the file is empty; \"isa:\" was expected",
                           r->y->file);
        }
        if (read_node(r, &e, &r->y->root) != OK || next(r, &e) != OK)
            return FAIL;
        yaml_event_delete(&e); /* the end of the document */
        if (next(r, &e) != OK)
            return FAIL;
        res_code_t res =
            e.type == YAML_STREAM_END_EVENT
                ? OK
                : place_fail(r, &e, "a second document; the end of the file was expected");
        yaml_event_delete(&e);
        return res;
    }
}

static res_code_t find_lines(struct pg_yaml *y, struct err *err)
{
    size_t count = 1;
    for (size_t i = 0; i < y->size; i++)
        count += y->bytes[i] == '\n';
    y->lines = arena_alloc(y->arena, count * sizeof *y->lines);
    if (!y->lines)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", y->file);
    y->lines[y->line_count++] = y->bytes;
    for (size_t i = 0; i < y->size; i++)
        if (y->bytes[i] == '\n')
            y->lines[y->line_count++] = y->bytes + i + 1;
    return OK;
}

res_t pg_yaml_parse(struct pg_yaml *y, struct err *err)
{
    struct reader r = {.y = y, .err = err};
    if (y->size > PG_FILE_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%s: %zu bytes are too many: at most %zu", y->file, y->size,
                       PG_FILE_BYTES_MAX);
    if (find_lines(y, err) != OK)
        return FAIL;
    if (!yaml_parser_initialize(&r.parser))
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", y->file);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)y->bytes, y->size);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    res_code_t res = read_document(&r);
    yaml_parser_delete(&r.parser);
    return res;
}

/* ---- reading the tree ---- */

struct pg_node *pg_yaml_get(const struct pg_node *map, const char *key)
{
    if (map->kind == PG_N_MAP)
        for (struct pg_node *c = map->first; c; c = c->next)
            if (!strcmp(c->key->text, key))
                return c;
    return NULL;
}

res_t pg_yaml_keys(const struct pg_yaml *y, const struct pg_node *n, const char *where,
                   const char *const *keys, struct err *err)
{
    size_t count = 0;
    while (keys[count])
        count++;
    if (n->kind != PG_N_MAP)
        return pg_yaml_fail(y, n, err, "%s: keys and values were expected (\"%s:\" and so on)",
                            where, keys[0]);
    for (const struct pg_node *c = n->first; c; c = c->next) {
        size_t i = 0;
        while (i < count && strcmp(keys[i], c->key->text))
            i++;
        if (i < count)
            continue;
        const char *near = pg_nearest(c->key->text, keys, count);
        if (near)
            return pg_yaml_fail(y, c->key, err, "%s has no \"%.40s\"; did you mean \"%s\"?", where,
                                c->key->text, near);
        char all[200];
        size_t at = 0;
        for (i = 0; i < count && at < sizeof all - 24; i++)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", keys[i]);
        return pg_yaml_fail(y, c->key, err, "%s has no \"%.40s\"; one of %s was expected", where,
                            c->key->text, all);
    }
    return OK;
}

res_t pg_yaml_number(const struct pg_yaml *y, const struct pg_node *n, uint64_t least,
                     uint64_t most, uint64_t *out, struct err *err)
{
    char *end;
    if (n->kind == PG_N_SCALAR && n->text[0] >= '0' && n->text[0] <= '9') {
        uint64_t v = strtoull(n->text, &end, 0);
        if (!*end && v >= least && v <= most) {
            *out = v;
            return OK;
        }
    }
    return pg_yaml_fail(y, n, err, "a number from %llu to %llu was expected%s%.40s%s",
                        (unsigned long long)least, (unsigned long long)most,
                        n->kind == PG_N_SCALAR ? ", found \"" : "",
                        n->kind == PG_N_SCALAR ? n->text : "", n->kind == PG_N_SCALAR ? "\"" : "");
}

res_t pg_yaml_string(const struct pg_yaml *y, const struct pg_node *n, const char **out,
                     struct err *err)
{
    if (!n)
        return OK;
    if (n->kind != PG_N_SCALAR)
        return pg_yaml_fail(y, n, err, "one word or text was expected, not a list and not a map");
    *out = n->text;
    return OK;
}

res_t pg_yaml_strings(const struct pg_yaml *y, const struct pg_node *n, const char ***out,
                      uint32_t *count, struct err *err)
{
    if (!n)
        return OK;
    uint32_t many = n->kind == PG_N_LIST ? n->count : 1, i = 0;
    const char **list = arena_zalloc(y->arena, (many + 1) * sizeof *list);
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", y->file);
    const struct pg_node *c = n->kind == PG_N_LIST ? n->first : n;
    for (; c && i < many; c = c->next) {
        if (c->kind != PG_N_SCALAR)
            return pg_yaml_fail(y, c, err, "a word or text was expected in this list");
        list[i++] = c->text;
    }
    *out = list;
    *count = i;
    return OK;
}

bool pg_yaml_is_list(const struct pg_node *n)
{
    return n->kind == PG_N_LIST;
}

/* Blanks that the line (from 1) begins with. */
static unsigned indent_of(const struct pg_yaml *y, unsigned line, bool *blank)
{
    unsigned n = 0;
    const char *s = line <= y->line_count ? y->lines[line - 1] : y->bytes + y->size;
    const char *end = y->bytes + y->size;
    while (s < end && *s == ' ')
        s++, n++;
    *blank = s == end || *s == '\n' || *s == '\r';
    return n;
}

struct pg_text pg_yaml_text(const struct pg_yaml *y, const struct pg_node *n)
{
    struct pg_text t = {.file = y->file, .s = n->text, .line = n->line, .column = n->column};
    if (n->literal) {
        bool blank = true;
        unsigned indent = 0;
        t.line = n->line + 1;
        for (unsigned i = 0; blank && i < 100; i++)
            indent = indent_of(y, t.line + i, &blank);
        t.column = indent + 1;
    } else if (!n->plain) {
        t.column++;
    }
    t.indent = t.column;
    return t;
}
