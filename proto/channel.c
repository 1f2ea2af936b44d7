#include "proto/channel.h"
#include "engine/base/base.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 8 /* received at once */

void pb_channel_init(struct pb_channel *ch, int fd, size_t message_bytes_max, bool take_fds)
{
    *ch = (struct pb_channel){.fd = fd, .take_fds = take_fds};
    pb_splitter_init(&ch->in, PB_FRAMING_CHILD, message_bytes_max);
    arena_init(&ch->arena, PB_ARENA_BYTES(message_bytes_max));
}

static struct pb_channel_fd *first_out_fd(struct pb_channel *ch)
{
    return ch->out_fds.len ? (struct pb_channel_fd *)(void *)ch->out_fds.data : NULL;
}

int pb_channel_take_fd(struct pb_channel *ch)
{
    int fd;
    if (!ch->in_fds.len)
        return -1;
    memcpy(&fd, ch->in_fds.data, sizeof fd);
    buf_drop_front(&ch->in_fds, sizeof fd);
    return fd;
}

void pb_channel_fini(struct pb_channel *ch)
{
    struct pb_channel_fd *out;
    int fd;
    while ((out = first_out_fd(ch))) {
        close(out->fd);
        buf_drop_front(&ch->out_fds, sizeof *out);
    }
    while ((fd = pb_channel_take_fd(ch)) >= 0)
        close(fd);
    close_fd(&ch->fd);
    ch->fd = -1;
    pb_splitter_fini(&ch->in);
    arena_fini(&ch->arena);
    buf_fini(&ch->out);
    buf_fini(&ch->out_fds);
    buf_fini(&ch->in_fds);
}

static void pack_out(struct pb_channel *ch)
{
    if (ch->out_at < 65536 || first_out_fd(ch))
        return;
    buf_drop_front(&ch->out, ch->out_at);
    ch->out_at = 0;
}

void pb_channel_put(struct pb_channel *ch, const ProtobufCMessage *m, int pass_fd)
{
    pack_out(ch);
    if (pass_fd >= 0) {
        struct pb_channel_fd f = {ch->out.len, pass_fd};
        buf_put(&ch->out_fds, &f, sizeof f);
        if (ch->out_fds.failed)
            close(pass_fd);
    }
    pb_pack_child(&ch->out, m);
}

void pb_channel_put_raw(struct pb_channel *ch, const void *p, size_t n)
{
    pack_out(ch);
    buf_put_u32(&ch->out, (uint32_t)n);
    buf_put(&ch->out, p, n);
}

size_t pb_channel_pending(const struct pb_channel *ch)
{
    return ch->out.len - ch->out_at;
}

/* One sendmsg: up to the next descriptor's byte, or from it with the descriptor. */
static ssize_t send_some(struct pb_channel *ch)
{
    struct pb_channel_fd *f = first_out_fd(ch);
    struct iovec iov = {ch->out.data + ch->out_at, ch->out.len - ch->out_at};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (f && f->at > ch->out_at) {
        iov.iov_len = f->at - ch->out_at;
        f = NULL;
    }
    if (f) {
        struct pb_channel_fd *after = ch->out_fds.len > sizeof *f ? f + 1 : NULL;
        if (after)
            iov.iov_len = after->at - f->at;
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &f->fd, sizeof(int));
    }
    ssize_t n = sendmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0 && f) {
        close(f->fd);
        buf_drop_front(&ch->out_fds, sizeof *f);
    }
    return n;
}

res_t pb_channel_flush(struct pb_channel *ch, struct err *err)
{
    if (ch->out.failed || ch->out_fds.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for messages to a child");
    while (pb_channel_pending(ch)) {
        ssize_t n = send_some(ch);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return OK;
        if (n < 0) {
            err_set_os(err, "sending to the other process");
            if (err)
                err->code = ERR_UNAVAILABLE;
            return FAIL;
        }
        ch->out_at += (size_t)n;
    }
    ch->out.len = ch->out_at = 0;
    return OK;
}

static res_code_t keep_fds(struct pb_channel *ch, struct msghdr *msg, struct err *err)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        buf_put(&ch->in_fds, CMSG_DATA(h), count * sizeof(int));
    }
    if (ch->in_fds.failed || ch->in_fds.len > 64 * sizeof(int))
        return err_set(err, ERR_BAD_MESSAGE, "descriptors without messages");
    return OK;
}

res_t pb_channel_fill(struct pb_channel *ch, struct err *err)
{
    uint8_t bytes[65536];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (ch->take_fds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
    }
    ssize_t n = recvmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return OK;
    if (n < 0) {
        err_set_os(err, "reading from the other process");
        if (err)
            err->code = ERR_UNAVAILABLE;
        return FAIL;
    }
    if (n == 0)
        return err_set(err, ERR_UNAVAILABLE, "the other process closed its socket");
    if (ch->take_fds && keep_fds(ch, &msg, err))
        return FAIL;
    return pb_splitter_put(&ch->in, bytes, (size_t)n, err);
}

res_t pb_channel_next(struct pb_channel *ch, const ProtobufCMessageDescriptor *type,
                      const ProtobufCMessage **m, struct err *err)
{
    bool got;
    const uint8_t *p;
    size_t n;
    *m = NULL;
    arena_reset(&ch->arena);
    if (pb_splitter_next(&ch->in, &got, &p, &n, err))
        return FAIL;
    return got ? pb_unpack(type, &ch->arena, p, n, m, err) : OK;
}
