/* What stands in the tables of columns.def. */
#include "client/vmctl/out.h"
#include "proto/daemon.pb-c.h"
#include "proto/event.pb-c.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000ull

void ctl_put_safe(struct buf *b, const char *s, size_t most)
{
    for (size_t n = 0; *s && n < most; s++, n++)
        buf_put_u8(b, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : (uint8_t)*s);
}

void ctl_put_bytes(struct buf *b, uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    double v = (double)bytes;
    for (; v >= 1024 && units[unit + 1]; unit++)
        v /= 1024;
    if (unit == 0)
        buf_printf(b, "%" PRIu64, bytes);
    else
        buf_printf(b, v < 10 ? "%.1f%c" : "%.0f%c", v, units[unit]);
}

static void put_age(struct buf *b, uint64_t s)
{
    if (s < 120)
        buf_printf(b, "%" PRIu64 "s", s);
    else if (s < 7200)
        buf_printf(b, "%" PRIu64 "m", s / 60);
    else if (s < 172800)
        buf_printf(b, "%" PRIu64 "h", s / 3600);
    else
        buf_printf(b, "%" PRIu64 "d", s / 86400);
}

static void put_span(struct buf *b, uint64_t ns)
{
    if (ns < 10 * SECOND)
        buf_printf(b, "%.2fs", (double)ns / 1e9);
    else
        put_age(b, ns / SECOND);
}

static void put_word(struct buf *b, const ProtobufCEnumDescriptor *d, int v, const char *prefix)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(d, v);
    if (!known) {
        buf_printf(b, "%d", v);
        return;
    }
    const char *s = known->name;
    if (!strncmp(s, prefix, strlen(prefix)))
        s += strlen(prefix);
    for (; *s; s++)
        buf_put_u8(b, (uint8_t)(*s == '_' ? '-' : tolower((unsigned char)*s)));
}

/* ---- guests ---- */

static void guest_name(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbGuest *)row)->name, 64);
}

static void guest_image(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    ctl_put_safe(b, g->image, pb_digest_valid(g->image) ? 19 : 128);
}

static void guest_since(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    int64_t since = g->end ? g->end_time_ns : g->start_time_ns;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (since)
        put_age(b, (uint64_t)MAX((long long)now.tv_sec - since / (int64_t)SECOND, 0ll));
    else
        buf_put_u8(b, '-');
}

static void guest_tenant(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbGuest *)row)->tenant, 64);
}

static void guest_id(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbGuest *)row)->id, 24);
}

static void guest_restarts(struct buf *b, const void *row)
{
    buf_printf(b, "%u", ((const PbGuest *)row)->restarts);
}

static void guest_memory(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    if (g->stats)
        ctl_put_bytes(b, g->stats->memory_bytes);
}

static void guest_cpu(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    if (g->stats)
        put_span(b, g->stats->cpu_ns);
}

static void guest_worker(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    if (g->worker_pid)
        buf_printf(b, "%u", g->worker_pid);
}

static void guest_readers(struct buf *b, const void *row)
{
    buf_printf(b, "%u", ((const PbGuest *)row)->readers);
}

static void guest_labels(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    for (size_t i = 0; i < g->n_labels; i++) {
        if (i)
            buf_put_u8(b, ',');
        ctl_put_safe(b, g->labels[i]->key, 64);
        buf_put_u8(b, '=');
        ctl_put_safe(b, g->labels[i]->value, 64);
    }
}

static void guest_state(struct buf *b, const void *row)
{
    char text[400];
    ctl_end_text(row, text, sizeof text);
    ctl_put_safe(b, text, 80);
}

static void guest_command(struct buf *b, const void *row)
{
    const PbGuest *g = row;
    for (size_t i = 0; i < g->n_args && i < 8; i++) {
        if (i)
            buf_put_u8(b, ' ');
        ctl_put_safe(b, g->args[i], 40);
    }
}

/* ---- images ---- */

static void image_reference(struct buf *b, const void *row)
{
    const PbImage *im = row;
    ctl_put_safe(b, im->name[0] ? im->name : im->digest, 128);
}

static void image_name(struct buf *b, const void *row)
{
    const PbImage *im = row;
    ctl_put_safe(b, im->name[0] ? im->name : "-", 128);
}

static void image_digest(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbImage *)row)->digest, 19);
}

static void image_bytes(struct buf *b, const void *row)
{
    buf_printf(b, "%" PRIu64, ((const PbImage *)row)->size_bytes);
}

static void image_guests(struct buf *b, const void *row)
{
    buf_printf(b, "%u", ((const PbImage *)row)->guests);
}

static void image_entries(struct buf *b, const void *row)
{
    const PbImage *im = row;
    if (im->entries)
        buf_printf(b, "%" PRIu64, im->entries);
}

static void image_architecture(struct buf *b, const void *row)
{
    const PbImage *im = row;
    if (im->config)
        ctl_put_safe(b, im->config->architecture, 32);
}

static void image_created(struct buf *b, const void *row)
{
    time_t t = (time_t)(((const PbImage *)row)->create_time_ns / (int64_t)SECOND);
    struct tm tm;
    char text[32] = "-";
    if (localtime_r(&t, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm);
    buf_printf(b, "%s", text);
}

/* ---- events ---- */

static void event_time(struct buf *b, const void *row)
{
    const PbEvent *e = row;
    time_t t = (time_t)(e->time_ns / (int64_t)SECOND);
    struct tm tm;
    char text[32] = "-";
    if (localtime_r(&t, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    buf_printf(b, "%s.%03d", text, (int)(e->time_ns % (int64_t)SECOND / 1000000));
}

static void event_cursor(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbEvent *)row)->cursor, 64);
}

static void event_tenant(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbEvent *)row)->tenant, 64);
}

static void event_type(struct buf *b, const void *row)
{
    put_word(b, &pb_event_type__descriptor, (int)((const PbEvent *)row)->type, "EVENT_TYPE_");
}

static void event_subject(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbEvent *)row)->subject, 128);
}

static void event_id(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbEvent *)row)->guest_id, 24);
}

static void event_text(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbEvent *)row)->text, 400);
}

/* ---- tenants ---- */

static void tenant_name(struct buf *b, const void *row)
{
    const PbTenant *t = row;
    ctl_put_safe(b, t->name, 64);
}

static void tenant_role(struct buf *b, const void *row)
{
    const PbTenant *t = row;
    buf_printf(b, "%s%s", t->admin ? "admin" : "user", t->caller ? ", you" : "");
}

static void tenant_isolation(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbTenant *)row)->isolation, 16);
}

static void put_quota(struct buf *b, const PbTenant *t, const char *name)
{
    bool bytes = strstr(name, "_bytes") != NULL;
    for (size_t i = 0; i < t->n_quotas; i++) {
        const PbQuota *q = t->quotas[i];
        if (strcmp(q->name, name) != 0)
            continue;
        if (bytes)
            ctl_put_bytes(b, q->used);
        else
            buf_printf(b, "%" PRIu64, q->used);
        buf_put_u8(b, '/');
        if (q->limit == UINT64_MAX)
            buf_put_u8(b, '-');
        else if (bytes)
            ctl_put_bytes(b, q->limit);
        else
            buf_printf(b, "%" PRIu64, q->limit);
    }
}

#define QUOTA_CELL(cell, name)                       \
    static void cell(struct buf *b, const void *row) \
    {                                                \
        put_quota(b, row, name);                     \
    }
QUOTA_CELL(tenant_guests, "guests")
QUOTA_CELL(tenant_memory, "memory_bytes")
QUOTA_CELL(tenant_vcpus, "vcpus")
QUOTA_CELL(tenant_images, "images")
QUOTA_CELL(tenant_disk, "disk_bytes")
QUOTA_CELL(tenant_console, "console_bytes")

/* ---- checks ---- */

static void check_name(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbDoctorCheck *)row)->name, 40);
}

static void check_verdict(struct buf *b, const void *row)
{
    put_word(b, &pb_doctor_verdict__descriptor, (int)((const PbDoctorCheck *)row)->verdict,
             "DOCTOR_VERDICT_");
}

static void check_found(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbDoctorCheck *)row)->found, 400);
}

static void check_advice(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const PbDoctorCheck *)row)->advice, 400);
}

/* ---- usage ---- */

static void usage_name(struct buf *b, const void *row)
{
    guest_name(b, ((const struct ctl_usage *)row)->guest);
}

static void put_share(struct buf *b, double share)
{
    if (share < 0)
        buf_put_u8(b, '-');
    else
        buf_printf(b, "%.1f", share * 100);
}

static void usage_cpu(struct buf *b, const void *row)
{
    put_share(b, ((const struct ctl_usage *)row)->cpu);
}

static void usage_translate(struct buf *b, const void *row)
{
    put_share(b, ((const struct ctl_usage *)row)->translate);
}

static void usage_calls(struct buf *b, const void *row)
{
    const struct ctl_usage *u = row;
    if (u->calls < 0)
        buf_put_u8(b, '-');
    else
        buf_printf(b, "%.0f", u->calls);
}

static void usage_memory(struct buf *b, const void *row)
{
    guest_memory(b, ((const struct ctl_usage *)row)->guest);
}

static void usage_overlay(struct buf *b, const void *row)
{
    const struct ctl_usage *u = row;
    if (u->guest->stats)
        ctl_put_bytes(b, u->guest->stats->overlay_bytes);
}

static void usage_processes(struct buf *b, const void *row)
{
    const struct ctl_usage *u = row;
    if (u->guest->stats)
        buf_printf(b, "%u", u->guest->stats->processes);
}

static void usage_cpu_time(struct buf *b, const void *row)
{
    guest_cpu(b, ((const struct ctl_usage *)row)->guest);
}

static void usage_tenant(struct buf *b, const void *row)
{
    guest_tenant(b, ((const struct ctl_usage *)row)->guest);
}

static void usage_command(struct buf *b, const void *row)
{
    guest_command(b, ((const struct ctl_usage *)row)->guest);
}

/* ---- contexts ---- */

static void context_name(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const struct ctl_context_row *)row)->name, 64);
}

static void context_current(struct buf *b, const void *row)
{
    buf_printf(b, "%s", ((const struct ctl_context_row *)row)->current ? "*" : "");
}

static void context_address(struct buf *b, const void *row)
{
    ctl_put_safe(b, ((const struct ctl_context_row *)row)->address, 4096);
}

/* ---- the tables ---- */

static void emit_message(struct ctl_writer *w, const void *row)
{
    ctl_emit(w, row);
}

static void emit_usage(struct ctl_writer *w, const void *row)
{
    const struct ctl_usage *u = row;
    ctl_w_map(w);
    ctl_w_key(w, "guest");
    ctl_emit(w, &u->guest->base);
    if (u->cpu >= 0) {
        ctl_w_key(w, "cpu");
        ctl_w_double(w, u->cpu);
        ctl_w_key(w, "syscallsPerSecond");
        ctl_w_double(w, u->calls);
        ctl_w_key(w, "translateShare");
        ctl_w_double(w, u->translate);
    }
    ctl_w_end(w);
}

static void emit_context(struct ctl_writer *w, const void *row)
{
    const struct ctl_context_row *c = row;
    ctl_w_map(w);
    ctl_w_text(w, "name", c->name);
    ctl_w_key(w, "current");
    ctl_w_plain(w, c->current ? "true" : "false");
    ctl_w_text(w, "address", c->address);
    ctl_w_end(w);
}

void (*const ctl_emitters[CTL_TABLE_COUNT])(struct ctl_writer *w, const void *row) = {
#define TABLE(ident, emit) [CTL_TABLE_##ident] = emit,
#define COLUMN(...)
#include "client/vmctl/columns.def"
#undef TABLE
#undef COLUMN
};

#define WIDE CTL_COLUMN_WIDE
#define NAME CTL_COLUMN_NAME
#define UNSEEN CTL_COLUMN_UNSEEN
const struct ctl_column ctl_columns[] = {
#define TABLE(...)
#define COLUMN(table, heading, flags, width, cell) {CTL_TABLE_##table, heading, flags, width, cell},
#include "client/vmctl/columns.def"
#undef TABLE
#undef COLUMN
};
const size_t ctl_column_count = ARRAY_LEN(ctl_columns);
