/*
 * linux/sock.h - sockets that live inside the guest: AF_INET (TCP, UDP over 127.0.0.0/8) and AF_UNIX.
 *
 * A stream socket reads from its own ring `rx`, into which its peer writes; packets (UDP, AF_UNIX datagrams and SOCK_SEQPACKET) wait
 * in `packets`. Files sent along (SCM_RIGHTS) hang on a packet, or on a place in the stream (marks).
 * Both are bounded: nothing is promised to a sender that the receiver has no room for.
 */
#ifndef LINUX_SOCK_H
#define LINUX_SOCK_H

#include "engine/linux/vfs.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LX_SOCK_RING (256u << 10)
#define LX_SOCK_PACKETS (208u << 10) /* bytes that wait, each packet with its head */
#define LX_PACKET_HEAD 256u          /* what a waiting packet costs beside its bytes */
#define LX_SCM_MAX 253
#define LX_BACKLOG_MAX 128u

struct lx_addr { /* as the guest gives it */
    uint32_t len;
    uint8_t b[112];
};

struct lx_scm {
    uint32_t count;
    struct lx_file *file[]; /* references */
};
struct lx_packet {
    struct list link;
    struct lx_addr from;
    struct lx_scm *scm;
    uint32_t bytes;
    uint8_t data[];
};
struct lx_mark {
    struct list link;
    uint64_t at; /* position in the stream */
    struct lx_scm *scm;
};

enum lx_sock_state { LX_SOCK_NEW, LX_SOCK_LISTEN, LX_SOCK_CONNECTED, LX_SOCK_CLOSED };

struct lx_sock {
    struct lx_vfs *vfs;
    struct list all;
    uint32_t refs,
        snap_id; /* refs: its file, a queue it waits in, an inode or port that names it does not count */
    uint16_t family, type, protocol;
    enum lx_sock_state state;
    uint64_t ino;
    struct lx_addr local, remote;
    bool has_file; /* loading: a file has it already */
    bool bound, in_ports, shut_rd, shut_wr, peer_gone, connecting;
    int err; /* SO_ERROR */
    struct lx_sock *
        peer; /* of a pair: not counted, both sides clear it; peer_ref: a datagram's target, a reference */
    bool peer_ref;
    struct lx_pipe *rx;
    uint64_t rx_total, rx_taken;
    struct list marks, packets;
    uint32_t packet_bytes;
    struct list backlog, waiting; /* LISTEN: who waits; else: its place in a backlog */
    uint32_t backlog_count, backlog_max;
    struct lx_hnode port;  /* bound: in net->names */
    struct lx_inode *node; /* bound AF_UNIX path: a reference */
    uint32_t cred_pid, cred_uid, cred_gid, peer_pid, peer_uid, peer_gid;
    uint64_t rcvtimeo_ns, sndtimeo_ns; /* 0: none */
    int32_t sndbuf, rcvbuf, opt[64], tcp_opt[40], ip_opt[64];
    int32_t linger[2];
    struct lx_waitq wait;
};

struct lx_net {
    struct lx_hash names; /* ports, abstract names */
    uint32_t next_port, next_auto;
};

/* ---- sock.c ---- */
struct lx_sock *lx_sock_new(struct lx_vfs *v, uint16_t family, uint16_t type, uint16_t protocol);
void lx_sock_put(struct lx_sock *s);
void lx_sock_changed(struct lx_sock *s);
void lx_sock_close(struct lx_sock *s);   /* the last file is gone */
struct lx_net *lx_net(struct lx_vfs *v); /* made when first needed; NULL: no memory */
static inline bool lx_sock_stream(const struct lx_sock *s)
{
    return s->type == SOCK_STREAM;
}
void lx_sock_unpeer(struct lx_sock *s);
void lx_socks_drop_all(struct lx_vfs *v);
void lx_sock_pair(struct lx_sock *a, struct lx_sock *b); /* connect two */
struct lx_file *lx_sock_file(struct lx_sock *s, uint32_t flags, uint32_t uid,
                             uint32_t gid); /* takes over the reference */
extern const struct lx_file_ops lx_sock_ops;
void lx_scm_put(struct lx_scm *scm);

/* ---- sock_move.c ---- */
struct lx_msg {
    struct lx_iter *it;
    const struct lx_addr *to; /* send; NULL: the peer */
    struct lx_addr from;      /* received */
    struct lx_scm *scm;       /* send: taken over on success; received: the receiver's */
    uint32_t flags;           /* MSG_* */
    bool truncated;
    size_t whole; /* of the packet */
};
int64_t lx_sock_send(struct lx_call *c, struct lx_sock *s, struct lx_msg *m);
int64_t lx_sock_recv(struct lx_call *c, struct lx_sock *s, struct lx_msg *m);
uint32_t lx_sock_ready(struct lx_sock *s);

/* ---- sock_inet.c, sock_unix.c ---- */
int64_t lx_inet_bind(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a);
int64_t lx_inet_autobind(struct lx_sock *s, uint32_t ip);
int64_t lx_inet_connect(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a,
                        bool nonblock);
struct lx_sock *lx_udp_find(struct lx_vfs *v, const struct lx_addr *to);
int64_t lx_unix_bind(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a);
int64_t lx_unix_connect(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a,
                        bool nonblock);
int64_t lx_unix_find(struct lx_call *c, const struct lx_addr *a, uint16_t type,
                     struct lx_sock **out);
void lx_sock_unname(struct lx_sock *s);
/* A new connection to a listener: 0, or -EAGAIN if its backlog is full. */
int64_t lx_sock_queue(struct lx_sock *listener, struct lx_sock *client);
uint64_t lx_name_hash(const void *p, size_t n, uint64_t seed);
/* sock_call.c: the socket of a call's descriptor, kept over blocking, or NULL and *e; addresses in and out */
struct lx_sock *lx_sock_arg(struct lx_call *c, struct lx_file **file, int64_t *e);
int64_t lx_sock_addr_in(struct lx_call *c, uint64_t at, uint64_t len, struct lx_addr *a);
int64_t lx_sock_addr_out(struct lx_call *c, const struct lx_addr *a, uint64_t at, uint64_t len_at);
/* sock_opt.c */
int64_t lx_sock_setopt(struct lx_call *c, struct lx_sock *s, uint32_t level, uint32_t name,
                       uint64_t at, uint32_t len);
int64_t lx_sock_getopt(struct lx_call *c, struct lx_sock *s, uint32_t level, uint32_t name,
                       uint64_t at, uint64_t len_at);

#endif
