/* Console readers: AttachGuest and ReadLogs. */
#include "daemon/manager/conn.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"

#include <stdlib.h>

#define CHUNK_BYTES 32768
#define STDIN_BYTES_MAX 32768

static void refuse(struct pb_call *call, const struct err *err)
{
    struct mgr_reader *r = call->user;
    if (r)
        mgr_reader_remove(r);
    pb_call_finish(call, err);
}

static struct mgr_reader *add_reader(struct pb_call *call, struct mgr_guest *g,
                                     struct mgr_reader like)
{
    struct mgr_reader *r = malloc(sizeof *r);
    struct err err;
    if (!r) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a reader");
        pb_call_finish(call, &err);
        return NULL;
    }
    *r = like;
    r->call = call;
    call->user = r;
    mgr_reader_add(g, r);
    return r;
}

/* Standard input has one writer, or several that all asked to share it; or it is taken away from who has it. */
static res_code_t may_write(struct mgr_guest *g, const PbAttachOpen *open, struct err *err)
{
    if (!open->stdin || list_empty(&g->writers))
        return OK;
    if (open->take_over) {
        while (!list_empty(&g->writers)) {
            struct mgr_reader *w = list_entry(g->writers.next, struct mgr_reader, writing);
            list_remove(&w->writing);
            pb_call_resume(w->call); /* it learns of it when it writes */
        }
        return OK;
    }
    bool shared = open->shared;
    list_for_each(l, &g->writers) shared &= list_entry(l, struct mgr_reader, writing)->shared;
    if (shared)
        return OK;
    err_set(err, ERR_STATE, "standard input of guest \"%s\" is taken by another client", g->name);
    return err_explain(err, "STDIN_TAKEN", "guest", g->name,
                       "attach without input, or take it over");
}

static void open_attachment(struct pb_call *call, const PbAttachOpen *open)
{
    struct mgr_guest *g;
    struct err err;
    if (mgr_guest_find(mgr_of_conn(call->conn_ctx), mgr_caller(call), open->name, &g, &err) ||
        may_write(g, open, &err)) {
        refuse(call, &err);
        return;
    }
    struct mgr_reader like = {.attach = true,
                              .hold = open->hold,
                              .follow = true,
                              .writer = open->stdin,
                              .shared = open->shared,
                              .wait_start = open->start};
    like.at = open->replay ? mgr_console_begin() : mgr_console_newest(&g->console);
    if (!add_reader(call, g, like))
        return;
    if (open->start && mgr_guest_start(g, &err)) {
        refuse(call, &err);
        return;
    }
    if (open->start && !open->stdin && !g->spec->tty)
        mgr_guest_input_eof(g); /* nobody will write */
    pb_call_wake(call);
}

static res_code_t take_input(struct mgr_reader *r, const PbAttachRequest *req, struct err *err)
{
    struct mgr_guest *g = r->guest;
    switch (req->kind_case) {
    case PB_ATTACH_REQUEST__KIND_STDIN:
        if (!r->writer)
            return err_set(err, ERR_STATE, "this attachment was opened without stdin");
        if (list_empty(&r->writing))
            return err_set(err, ERR_STATE,
                           "standard input of guest \"%s\" was taken over by another client",
                           g->name);
        if (req->stdin.len > STDIN_BYTES_MAX)
            return err_set(err, ERR_INVALID, "stdin of %zu bytes; at most %d in one message",
                           req->stdin.len, STDIN_BYTES_MAX);
        mgr_guest_input(g, req->stdin.data, req->stdin.len);
        return OK;
    case PB_ATTACH_REQUEST__KIND_STDIN_EOF:
        mgr_reader_stop_writing(r);
        return OK;
    case PB_ATTACH_REQUEST__KIND_RESIZE:
        if (req->resize->rows - 1 > 65534 || req->resize->cols - 1 > 65534)
            return err_set(err, ERR_INVALID, "a terminal of %u x %u; 1 to 65535", req->resize->rows,
                           req->resize->cols);
        mgr_guest_resize(g, req->resize->rows, req->resize->cols);
        return OK;
    case PB_ATTACH_REQUEST__KIND_SIGNAL:
        if (req->signal - 1 > 63)
            return err_set(err, ERR_INVALID, "signal %u; 1 to 64", req->signal);
        if (mgr_guest_running(g)) /* else it came too late: the end is on its way to the client */
            return mgr_guest_signal(g, req->signal, mgr_caller(r->call)->name, err);
        return OK;
    default:
        return err_set(err, ERR_INVALID,
                       "an attachment takes stdin, stdin_eof, resize and signal after open");
    }
}

void mgr_attach_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbAttachRequest *req = (const PbAttachRequest *)msg;
    struct mgr_reader *r = call->user;
    struct err err;
    if (!r && req->kind_case == PB_ATTACH_REQUEST__KIND_OPEN)
        return open_attachment(call, req->open);
    if (!r) {
        err_set(&err, ERR_INVALID, "the first message of an attachment is open");
        return refuse(call, &err);
    }
    if (take_input(r, req, &err))
        refuse(call, &err);
}

void mgr_attach_half_close(struct pb_call *call)
{
    struct mgr_reader *r = call->user;
    struct err err;
    if (!r) {
        err_set(&err, ERR_INVALID, "the first message of an attachment is open");
        refuse(call, &err);
    } else {
        mgr_reader_stop_writing(r);
    }
}

/* The latest of the beginnings that were asked for. */
static struct mgr_cursor first_wanted(const struct mgr_console *c, const PbReadLogsRequest *req)
{
    struct mgr_cursor at = mgr_console_begin(), other;
    if (req->from_seq)
        at = mgr_console_from(c, req->from_seq);
    if (req->since_ns && (other = mgr_console_since(c, req->since_ns)).seq > at.seq)
        at = other;
    if (req->tail_plus_one && (other = mgr_console_tail(c, req->tail_plus_one - 1)).seq > at.seq)
        at = other;
    return at;
}

void mgr_read_logs(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbReadLogsRequest *req = (const PbReadLogsRequest *)msg;
    struct mgr_guest *g;
    struct err err;
    if (mgr_guest_find(mgr_of_conn(call->conn_ctx), mgr_caller(call), req->name, &g, &err)) {
        refuse(call, &err);
        return;
    }
    struct mgr_reader like = {.follow = req->follow, .until = mgr_console_seq(&g->console)};
    like.at = first_wanted(&g->console, req);
    if (add_reader(call, g, like))
        pb_call_wake(call);
}

void mgr_reader_gone(struct pb_call *call)
{
    struct mgr_reader *r = call->user;
    if (r)
        mgr_reader_remove(r);
}

static void send_guest(struct pb_call *call, const struct mgr_guest *g, bool ended)
{
    PbAttachResponse resp = PB_ATTACH_RESPONSE__INIT;
    struct mgr_guest_msg m;
    mgr_guest_fill(g, &m);
    resp.kind_case = ended ? PB_ATTACH_RESPONSE__KIND_ENDED : PB_ATTACH_RESPONSE__KIND_OPENED;
    resp.opened = &m.guest; /* a union */
    pb_call_send(call, &resp.base);
}

/* The first response, once it can be given. True: it was given now or before. */
static bool opened(struct mgr_reader *r)
{
    struct mgr_guest *g = r->guest;
    if (r->opened_sent)
        return true;
    if (r->wait_start && g->state == PB_GUEST_STATE_STARTING)
        return false;
    if (r->wait_start && g->refused) {
        struct err err;
        err_set(&err, g->refused, "%s", g->end_text);
        refuse(r->call, &err);
        return false;
    }
    r->opened_sent = true;
    send_guest(r->call, g, false);
    return false; /* one message at a time */
}

/* The client has room for a message. */
void mgr_reader_pull(struct pb_call *call)
{
    static uint8_t bytes[CHUNK_BYTES]; /* packed before it is used again */
    struct mgr_reader *r = call->user;
    if (!r || (r->attach && !opened(r)))
        return;
    struct mgr_guest *g = r->guest;
    PbConsoleChunk chunk = PB_CONSOLE_CHUNK__INIT;
    struct mgr_piece piece;
    size_t most = sizeof bytes, n = 0;
    if (!r->follow)
        most = r->at.seq < r->until ? (size_t)MIN(r->until - r->at.seq, (uint64_t)most) : 0;
    if (most)
        n = mgr_console_get(&g->console, &r->at, &piece, bytes, most);
    if (n) {
        chunk.stream = piece.stream;
        chunk.dropped = piece.dropped;
        chunk.time_ns = piece.time_ns;
        g->dropped += piece.dropped;
        mgr_count(g->m, MGR_METRIC_CONSOLE_DROPPED, piece.dropped);
        chunk.data = (ProtobufCBinaryData){n, bytes};
        chunk.seq = r->at.seq - n;
        PbAttachResponse resp = PB_ATTACH_RESPONSE__INIT;
        resp.kind_case = PB_ATTACH_RESPONSE__KIND_OUTPUT;
        resp.output = &chunk;
        pb_call_send(call, r->attach ? &resp.base : &chunk.base);
        if (r->hold)
            mgr_guest_grant(g);
    } else if (mgr_guest_over(g) || !r->follow) {
        if (r->attach)
            send_guest(call, g, true);
        mgr_reader_remove(r);
        pb_call_finish(call, NULL);
    }
}
