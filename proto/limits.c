/* What a peer may not do to a connection: take too long, or talk too much without a purpose. */
#include "proto/call.h"
#include "engine/base/os.h"

#define LINGER_NS 5000000000ull

/* ---- floods ---- */

static bool take(struct bucket *b, uint64_t now_ns, uint32_t burst, uint32_t per_second)
{
    uint64_t fresh = (now_ns - b->since_ns) / 1000000 * per_second / 1000;
    if (fresh) {
        b->left = (uint32_t)MIN((uint64_t)burst, b->left + fresh);
        b->since_ns = now_ns;
    }
    if (b->left == 0)
        return false;
    b->left--;
    return true;
}

void pb_limits_init(struct pb_conn *conn)
{
    uint64_t now = os_now_ns();
    conn->began_ns = conn->heard_ns = conn->idle_ns = now;
    conn->resets = (struct bucket){PB_RESETS_BURST, now};
    conn->control = (struct bucket){PB_CONTROL_BURST, now};
    conn->deadline_ns = UINT64_MAX;
    if (conn->ops->times.greeting_ns)
        pb_conn_note(conn, now + conn->ops->times.greeting_ns);
    if (conn->ops->times.idle_ns)
        pb_conn_note(conn, now + conn->ops->times.idle_ns);
}

void pb_limits_heard(struct pb_conn *conn)
{
    conn->heard_ns = os_now_ns();
    conn->pinged_ns = 0;
}

void pb_limits_frame(struct pb_conn *conn, const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS: /* a call: what it costs is bounded by the streams */
        return;
    case NGHTTP2_DATA:
        if (frame->hd.length || frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            return;
        break;
    case NGHTTP2_RST_STREAM:
        if (!take(&conn->resets, conn->heard_ns, PB_RESETS_BURST, PB_RESETS_PER_SECOND))
            conn->flood = "resets";
        break;
    case NGHTTP2_SETTINGS:
        conn->greeted |= !(frame->hd.flags & NGHTTP2_FLAG_ACK);
        break;
    default:
        break;
    }
    if (!conn->flood && frame->hd.type != NGHTTP2_RST_STREAM &&
        !take(&conn->control, conn->heard_ns, PB_CONTROL_BURST, PB_CONTROL_PER_SECOND))
        conn->flood = "control frames";
    if (conn->flood)
        nghttp2_session_terminate_session(conn->h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

void pb_limits_sent(struct pb_conn *conn)
{
    conn->control.left = PB_CONTROL_BURST;
}

/* ---- times ---- */

void pb_limits_call_begins(struct call *c)
{
    const struct pb_conn_times *t = &c->conn->ops->times;
    c->deadline_ns = c->whole_by_ns = UINT64_MAX;
    if (t->request_ns)
        c->whole_by_ns = c->conn->heard_ns + t->request_ns;
    pb_conn_note(c->conn, c->whole_by_ns);
    if (t->ping_after_ns)
        pb_conn_note(c->conn, c->conn->heard_ns + t->ping_after_ns);
}

void pb_limits_call_accepted(struct call *c)
{
    if (pb_streams_requests(c->pub.method->kind)) /* these take as long as they like */
        c->whole_by_ns = UINT64_MAX;
    pb_conn_note(c->conn, c->deadline_ns);
}

void pb_limits_call_ended(struct pb_conn *conn)
{
    conn->idle_ns = conn->heard_ns;
    if (conn->call_count == 0 && conn->ops->times.idle_ns)
        pb_conn_note(conn, conn->idle_ns + conn->ops->times.idle_ns);
}

void pb_limits_refused(struct pb_conn *conn)
{
    conn->linger_until_ns = conn->began_ns + LINGER_NS;
    pb_conn_note(conn, conn->linger_until_ns);
}

uint64_t pb_conn_deadline(const struct pb_conn *conn)
{
    return conn->deadline_ns;
}

/* False: a header block that does not end; there is nobody to answer yet. */
static bool expire_calls(struct pb_conn *conn, uint64_t now_ns)
{
    struct err late, slow;
    err_set(&late, ERR_DEADLINE, "the deadline passed");
    err_set(&slow, ERR_DEADLINE, "the request did not come whole within %llu s",
            (unsigned long long)(conn->ops->times.request_ns / 1000000000));
    err_explain(&slow, "REQUEST_TOO_SLOW", NULL, NULL, "send a call's request in one go");
    list_for_each_safe(l, &conn->calls)
    {
        struct call *c = list_entry(l, struct call, link);
        if (c->ended_in)
            c->whole_by_ns = UINT64_MAX;
        if (c->whole_by_ns <= now_ns && !c->headers_in)
            return false;
        if (c->finished || !c->accepted)
            continue;
        if (c->deadline_ns <= now_ns)
            pb_call_fail(c, &late);
        else if (c->whole_by_ns <= now_ns)
            pb_call_fail(c, &slow);
        else
            pb_conn_note(conn, MIN(c->deadline_ns, c->whole_by_ns));
    }
    return true;
}

/* A peer with calls under way that says nothing is asked whether it is there. */
static bool expire_ping(struct pb_conn *conn, uint64_t now_ns)
{
    const struct pb_conn_times *t = &conn->ops->times;
    if (!t->ping_after_ns || (conn->call_count == 0 && !conn->pinged_ns))
        return true;
    if (conn->pinged_ns) {
        if (conn->pinged_ns + t->ping_answer_ns <= now_ns)
            return false;
        pb_conn_note(conn, conn->pinged_ns + t->ping_answer_ns);
    } else if (conn->heard_ns + t->ping_after_ns <= now_ns) {
        conn->pinged_ns = now_ns;
        nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, NULL);
        pb_conn_note(conn, now_ns + t->ping_answer_ns);
        conn->ops->wake(conn->ctx);
    } else {
        pb_conn_note(conn, conn->heard_ns + t->ping_after_ns);
    }
    return true;
}

static bool expire_idle(struct pb_conn *conn, uint64_t now_ns)
{
    const struct pb_conn_times *t = &conn->ops->times;
    if (conn->linger_until_ns) {
        if (conn->linger_until_ns <= now_ns && conn->call_count == 0)
            return false;
        pb_conn_note(conn, MAX(conn->linger_until_ns, now_ns + LINGER_NS));
    } else if (t->idle_ns && conn->call_count == 0) {
        if (conn->idle_ns + t->idle_ns <= now_ns) {
            pb_conn_drain(conn);
            conn->linger_until_ns = now_ns + LINGER_NS;
            pb_conn_note(conn, conn->linger_until_ns);
        } else {
            pb_conn_note(conn, conn->idle_ns + t->idle_ns);
        }
    }
    return true;
}

bool pb_conn_expire(struct pb_conn *conn, uint64_t now_ns)
{
    uint64_t greeting_ns = conn->ops->times.greeting_ns;
    if (now_ns < conn->deadline_ns)
        return true;
    conn->deadline_ns = UINT64_MAX;
    if (!conn->greeted && greeting_ns) {
        if (conn->began_ns + greeting_ns <= now_ns)
            return false;
        pb_conn_note(conn, conn->began_ns + greeting_ns);
    }
    return expire_calls(conn, now_ns) && expire_ping(conn, now_ns) && expire_idle(conn, now_ns);
}
