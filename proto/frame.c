#include "proto/frame.h"
#include "engine/base/base.h"

void pb_splitter_init(struct pb_splitter *s, enum pb_framing framing, size_t message_bytes_max)
{
    *s = (struct pb_splitter){.framing = framing, .message_bytes_max = message_bytes_max};
}

void pb_splitter_fini(struct pb_splitter *s)
{
    buf_fini(&s->in);
}

size_t pb_splitter_left(const struct pb_splitter *s)
{
    return s->in.len - s->at;
}

res_t pb_splitter_put(struct pb_splitter *s, const void *p, size_t n, struct err *err)
{
    if (s->at == s->in.len) {
        s->in.len = s->at = 0;
    } else if (s->at >= 65536) { /* rarely, so that moving stays cheap per byte */
        buf_drop_front(&s->in, s->at);
        s->at = 0;
    }
    buf_put(&s->in, p, n);
    if (s->in.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for a message");
    return OK;
}

res_t pb_splitter_next(struct pb_splitter *s, bool *got, const uint8_t **p, size_t *n,
                       struct err *err)
{
    *got = false;
    if (!s->in.data) /* nothing was ever put */
        return OK;
    struct cursor c = cursor_over(s->in.data + s->at, pb_splitter_left(s));
    uint8_t flag = 0;
    uint32_t length;
    if (s->framing == PB_FRAMING_GRPC) {
        flag = cursor_u8(&c);
        length = __builtin_bswap32(cursor_u32(&c));
    } else {
        length = cursor_u32(&c);
    }
    if (c.failed)
        return OK;
    if (flag == 1)
        return err_set(err, ERR_UNIMPLEMENTED,
                       "compressed message; only grpc-encoding identity is spoken here");
    if (flag)
        return err_set(err, ERR_BAD_MESSAGE, "message flag %u; 0 or 1 was expected", flag);
    if (length > s->message_bytes_max)
        return err_set(err, ERR_LIMIT, "message of %u bytes; at most %zu are taken here", length,
                       s->message_bytes_max);
    const void *body = cursor_get(&c, length);
    if (!body)
        return OK;
    *got = true;
    *p = body;
    *n = length;
    s->at = (size_t)(c.at - s->in.data);
    return OK;
}
