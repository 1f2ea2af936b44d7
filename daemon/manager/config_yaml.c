#include "daemon/manager/config_yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    const char *name;
    yaml_parser_t parser;
    struct arena *arena;
    struct mgr_problems *problems;
    unsigned nodes, depth;
    struct mgr_node *open[MGR_CONFIG_DEPTH + 1]; /* [1..depth] */
    struct mgr_node *root;
    struct err *err;
};

void mgr_problems_fini(struct mgr_problems *p)
{
    buf_fini(&p->text);
    *p = (struct mgr_problems){0};
}

/* Put a line where the file's order wants it. */
static void insert_problem(struct mgr_problems *p, uint64_t place, const char *text, size_t n)
{
    unsigned i = 0;
    size_t at = 0;
    for (; i < p->count && p->places[i] <= place; i++)
        at = (size_t)((uint8_t *)memchr(p->text.data + at, '\n', p->text.len - at) - p->text.data) +
             1;
    if (!buf_reserve(&p->text, n))
        return;
    memmove(p->text.data + at + n, p->text.data + at, p->text.len - at);
    memcpy(p->text.data + at, text, n);
    p->text.len += n;
    memmove(&p->places[i + 1], &p->places[i], (p->count - i) * sizeof p->places[0]);
    p->places[i] = place;
    p->count++;
}

void mgr_problem(struct mgr_problems *p, const char *name, const struct mgr_node *at,
                 const char *fmt, ...)
{
    char what[600], whole[1400];
    va_list ap;
    if (p->count >= MGR_CONFIG_PROBLEMS) {
        p->count++;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    for (char *s = what; *s; s++) /* one line each, whatever the file holds */
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    int n =
        at ? snprintf(whole, sizeof whole, "%.700s:%u:%u: %s\n", name, at->line, at->column, what)
           : snprintf(whole, sizeof whole, "%.700s: %s\n", name, what);
    insert_problem(p, at ? (uint64_t)at->line << 32 | at->column : UINT64_MAX, whole, (size_t)n);
}

bool mgr_node_empty(const struct mgr_node *n)
{
    return n->kind == MGR_NODE_SCALAR && n->plain &&
           (!*n->text || !strcmp(n->text, "null") || !strcmp(n->text, "~"));
}

static res_code_t refuse(struct reader *r, const yaml_mark_t *mark, const char *what)
{
    struct mgr_node at = {.line = (unsigned)mark->line + 1, .column = (unsigned)mark->column + 1};
    mgr_problem(r->problems, r->name, &at, "%s", what);
    return err_set(r->err, ERR_INVALID, "%s:%u:%u: %s", r->name, at.line, at.column, what);
}

static res_code_t no_memory(struct reader *r)
{
    return err_set(r->err, ERR_NO_MEMORY, "no memory for %s", r->name);
}

/* A node where the event stands, linked into the map or list that is open. */
static struct mgr_node *add(struct reader *r, const yaml_event_t *e)
{
    struct mgr_node *n = arena_zalloc(r->arena, sizeof *n);
    if (!n)
        return NULL;
    n->line = (unsigned)e->start_mark.line + 1;
    n->column = (unsigned)e->start_mark.column + 1;
    struct mgr_node *in = r->depth ? r->open[r->depth] : NULL;
    if (!in)
        r->root = n;
    else if (in->last)
        in->last = in->last->next = n;
    else
        in->first = in->last = n;
    return n;
}

static res_code_t on_scalar(struct reader *r, const yaml_event_t *e)
{
    if (e->data.scalar.anchor || (e->data.scalar.tag && *e->data.scalar.tag))
        return refuse(r, &e->start_mark, "anchors and tags are not allowed here");
    if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
        return refuse(r, &e->start_mark, "a value holds a NUL byte");
    struct mgr_node *n = add(r, e);
    if (!n || !(n->text = arena_strdup(r->arena, (const char *)e->data.scalar.value)))
        return no_memory(r);
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return OK;
}

static res_code_t on_open(struct reader *r, const yaml_event_t *e, bool map)
{
    const yaml_char_t *anchor = map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
    const yaml_char_t *tag = map ? e->data.mapping_start.tag : e->data.sequence_start.tag;
    if (anchor || (tag && *tag))
        return refuse(r, &e->start_mark, "anchors and tags are not allowed here");
    if (r->depth == MGR_CONFIG_DEPTH)
        return refuse(r, &e->start_mark, "nested too deeply");
    struct mgr_node *n = add(r, e);
    if (!n)
        return no_memory(r);
    n->kind = map ? MGR_NODE_MAP : MGR_NODE_LIST;
    r->open[++r->depth] = n;
    return OK;
}

static res_code_t on_event(struct reader *r, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return r->root ? refuse(r, &e->start_mark, "a second document; there is one in this file")
                       : OK;
    case YAML_ALIAS_EVENT:
        return refuse(r, &e->start_mark, "aliases are not allowed here; write the value out");
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++r->nodes > MGR_CONFIG_NODES)
            return refuse(r, &e->start_mark, "too many values");
        if (e->type == YAML_SCALAR_EVENT)
            return on_scalar(r, e);
        return on_open(r, e, e->type == YAML_MAPPING_START_EVENT);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return OK;
    default:
        return OK;
    }
}

static res_code_t on_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    char what[300];
    yaml_mark_t at = p->problem_mark;
    if (p->error == YAML_READER_ERROR) { /* it knows the byte, not the line */
        at = p->mark;
        snprintf(what, sizeof what, "not UTF-8 text: %s (byte %zu)", p->problem ? p->problem : "?",
                 p->problem_offset);
    } else {
        snprintf(what, sizeof what, "not YAML: %s%s%s", p->problem ? p->problem : "?",
                 p->context ? ", " : "", p->context ? p->context : "");
    }
    return refuse(r, &at, what);
}

static res_code_t read_all(struct reader *r)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->parser, &e))
            return on_syntax(r);
        bool end = e.type == YAML_STREAM_END_EVENT;
        res_code_t rc = on_event(r, &e);
        yaml_event_delete(&e);
        if (rc || end)
            return rc;
    }
}

res_code_t mgr_yaml_read(const char *name, const char *text, size_t n, struct arena *arena,
                         struct mgr_node **root, struct mgr_problems *problems, struct err *err)
{
    struct reader r = {.name = name, .arena = arena, .problems = problems, .err = err};
    if (n > MGR_CONFIG_BYTES) {
        mgr_problem(problems, name, NULL, "larger than %zu bytes", MGR_CONFIG_BYTES);
        return err_set(err, ERR_INVALID, "%s: larger than %zu bytes", name, MGR_CONFIG_BYTES);
    }
    if (!yaml_parser_initialize(&r.parser))
        return no_memory(&r);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    res_code_t rc = read_all(&r);
    yaml_parser_delete(&r.parser);
    if (!rc)
        *root = r.root && mgr_node_empty(r.root) ? NULL : r.root;
    return rc;
}
