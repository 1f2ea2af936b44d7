/* Sockets: loopback TCP and UDP, and AF_UNIX.
 * tests: socket bind listen accept accept4 connect getsockname getpeername setsockopt getsockopt sendto recvfrom
 * tests: sendmsg recvmsg sendmmsg recvmmsg shutdown socketpair
 */
#include "t.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_in any_port(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listener(struct sockaddr_in *a)
{
    socklen_t n = sizeof *a;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    *a = any_port();
    bind(s, (struct sockaddr *)a, sizeof *a);
    listen(s, 4);
    getsockname(s, (struct sockaddr *)a, &n);
    return s;
}

static void making(void)
{
    struct sockaddr_in a = any_port(), b;
    socklen_t n = sizeof b;
    R("socket family", SYS_socket, 99, SOCK_STREAM, 0);
    R("socket type", SYS_socket, AF_INET, 99, 0);
    R("socket protocol", SYS_socket, AF_INET, SOCK_STREAM, 17);
    int s = (int)OK("socket", SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    R("cloexec", SYS_fcntl, s, F_GETFD);
    R("bind", SYS_bind, s, &a, (long)sizeof a);
    R("bind again", SYS_bind, s, &a, (long)sizeof a);
    R("bind short", SYS_bind, s, &a, 3L);
    R("bind bad pointer", SYS_bind, s, BAD, (long)sizeof a);
    R("bind bad fd", SYS_bind, 99, &a, (long)sizeof a);
    int f = open("/dev/null", O_RDWR);
    R("bind of a file", SYS_bind, f, &a, (long)sizeof a);
    R("getsockname", SYS_getsockname, s, &b, &n);
    T("a port was chosen",
      b.sin_port != 0 && b.sin_addr.s_addr == a.sin_addr.s_addr && n == sizeof b);
    R("getsockname bad pointer", SYS_getsockname, s, BAD, &n);
    R("getsockname bad length", SYS_getsockname, s, &b, BAD);
    R("getpeername unconnected", SYS_getpeername, s, &b, &n);
    R("accept before listen", SYS_accept, s, NULL, NULL);
    R("listen", SYS_listen, s, 4);
    R("listen bad fd", SYS_listen, 99, 4);
    R("listen of a file", SYS_listen, f, 4);
    int t = socket(AF_INET, SOCK_STREAM, 0);
    n = sizeof b;
    getsockname(s, (struct sockaddr *)&b, &n);
    R("bind to a used port", SYS_bind, t, &b, (long)sizeof b);
    b.sin_addr.s_addr = htonl(0x08080808);
    b.sin_port = 0;
    R("bind to a foreign address", SYS_bind, t, &b, (long)sizeof b);
    R("write unconnected", SYS_write, t, "x", 1L);
    R("send unconnected", SYS_sendto, t, "x", 1L, MSG_NOSIGNAL, NULL, 0L);
    R("shutdown unconnected", SYS_shutdown, t, SHUT_RDWR);
    R("lseek", SYS_lseek, s, 0L, SEEK_SET);
    close(s), close(t), close(f);
}

static void stream(void)
{
    struct sockaddr_in a, b;
    socklen_t n = sizeof b;
    char buf[64] = {0};
    int s = listener(&a), c = socket(AF_INET, SOCK_STREAM, 0), v;
    R("connect", SYS_connect, c, &a, (long)sizeof a);
    R("connect again", SYS_connect, c, &a, (long)sizeof a);
    R("connect bad fd", SYS_connect, 99, &a, (long)sizeof a);
    R("connect bad pointer", SYS_connect, c, BAD, (long)sizeof a);
    R("accept bad fd", SYS_accept, 99, &b, &n);
    int p = (int)OK("accept", SYS_accept, s, &b, &n);
    T("the peer's address",
      b.sin_family == AF_INET && b.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && n == sizeof b);
    fcntl(s, F_SETFL, O_NONBLOCK);
    R("accept nobody", SYS_accept4, s, NULL, NULL, SOCK_CLOEXEC);
    R("accept4 flags", SYS_accept4, s, NULL, NULL, 1);
    R("send", SYS_sendto, c, "hello", 5L, 0, NULL, 0L);
    R("peek", SYS_recvfrom, p, buf, 64L, MSG_PEEK, NULL, NULL);
    R("receive", SYS_recvfrom, p, buf, 3L, 0, NULL, NULL);
    R("receive rest", SYS_read, p, buf + 3, 60L);
    say("%s", buf);
    R("receive nothing", SYS_recvfrom, p, buf, 3L, MSG_DONTWAIT, NULL, NULL);
    R("receive bad pointer", (write(c, "z", 1), SYS_recvfrom), p, BAD, 3L, 0, NULL, NULL);
    R("send bad pointer", SYS_sendto, c, BAD, 3L, 0, NULL, 0L);
    R("send bad fd", SYS_sendto, 99, "x", 1L, 0, NULL, 0L);
    R("receive bad fd", SYS_recvfrom, 99, buf, 1L, 0, NULL, NULL);
    recv(p, buf, 64, MSG_DONTWAIT);
    struct iovec io[2] = {{"ab", 2}, {"cd", 2}}, in = {buf, 64};
    struct msghdr m = {.msg_iov = io, .msg_iovlen = 2}, r = {.msg_iov = &in, .msg_iovlen = 1};
    R("sendmsg", SYS_sendmsg, c, &m, 0);
    R("recvmsg", SYS_recvmsg, p, &r, 0);
    say("%.4s", buf);
    R("sendmsg bad pointer", SYS_sendmsg, c, BAD, 0);
    R("recvmsg bad pointer", SYS_recvmsg, p, BAD, 0);
    R("sendmsg bad fd", SYS_sendmsg, 99, &m, 0);
    struct mmsghdr mm[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
    R("sendmmsg", SYS_sendmmsg, c, mm, 2, 0);
    t_sleep_ms(20);
    R("recvmsg of both", SYS_recvmsg, p, &r, 0);
    struct timespec zero = {0, 0};
    struct mmsghdr rm[2] = {{.msg_hdr = r}, {.msg_hdr = r}};
    write(c, "q", 1);
    R("recvmmsg", SYS_recvmmsg, p, rm, 2, MSG_DONTWAIT, &zero);
    n = sizeof v;
    R("getsockopt type", SYS_getsockopt, c, SOL_SOCKET, SO_TYPE, &v, &n);
    say("type %d", v);
    R("getsockopt error", SYS_getsockopt, c, SOL_SOCKET, SO_ERROR, &v, &n);
    say("error %d", v);
    v = 1;
    R("setsockopt reuse", SYS_setsockopt, c, SOL_SOCKET, SO_REUSEADDR, &v, 4L);
    R("setsockopt keepalive", SYS_setsockopt, c, SOL_SOCKET, SO_KEEPALIVE, &v, 4L);
    R("setsockopt nodelay", SYS_setsockopt, c, IPPROTO_TCP, TCP_NODELAY, &v, 4L);
    v = 0;
    R("getsockopt nodelay", SYS_getsockopt, c, IPPROTO_TCP, TCP_NODELAY, &v, &n);
    say("nodelay %d", v);
    R("setsockopt unknown", SYS_setsockopt, c, SOL_SOCKET, 9999, &v, 4L);
    R("setsockopt short", SYS_setsockopt, c, SOL_SOCKET, SO_REUSEADDR, &v, 1L);
    R("setsockopt bad pointer", SYS_setsockopt, c, SOL_SOCKET, SO_REUSEADDR, BAD, 4L);
    R("getsockopt bad pointer", SYS_getsockopt, c, SOL_SOCKET, SO_TYPE, BAD, &n);
    R("getsockopt bad fd", SYS_getsockopt, 99, SOL_SOCKET, SO_TYPE, &v, &n);
    n = sizeof b;
    R("getpeername", SYS_getpeername, c, &b, &n);
    T("it is the listener", b.sin_port == a.sin_port);
    struct pollfd f = {p, POLLIN | POLLOUT, 0};
    poll(&f, 1, 0);
    say("poll %x", f.revents);
    R("shutdown", SYS_shutdown, c, SHUT_WR);
    R("shutdown how", SYS_shutdown, c, 9);
    R("shutdown bad fd", SYS_shutdown, 99, SHUT_WR);
    R("end of stream", SYS_read, p, buf, 1L);
    R("write after shutdown", SYS_write, c, "x", 1L);
    R("the other way still works", SYS_write, p, "back", 4L);
    R("read back", SYS_read, c, buf, 64L);
    close(p);
    R("the end here too", SYS_read, c, buf, 64L);
    close(c);
    close(s);
    c = socket(AF_INET, SOCK_STREAM, 0);
    R("connection refused", SYS_connect, c, &a, (long)sizeof a);
    close(c);
}

/* A server in a child, a client that does not wait. */
static void served(void)
{
    struct sockaddr_in a;
    char buf[256];
    int status, s = listener(&a), v = -1;
    socklen_t n = sizeof v;
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 3; i++) {
            int p = accept(s, NULL, NULL);
            long total = 0, got;
            while ((got = read(p, buf, sizeof buf)) > 0)
                total += got;
            dprintf(p, "%ld bytes", total);
            close(p);
        }
        _exit(0);
    }
    close(s);
    for (int i = 0; i < 3; i++) {
        int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        long r = sys(SYS_connect, c, &a, (long)sizeof a);
        struct pollfd f = {c, POLLOUT, 0};
        if (r == -EINPROGRESS || r == 0)
            poll(&f, 1, 1000);
        getsockopt(c, SOL_SOCKET, SO_ERROR, &v, &n);
        fcntl(c, F_SETFL, 0);
        static char big[300000];
        size_t want = (size_t)i * 100000 + 17;
        for (size_t at = 0; at < want;) {
            ssize_t w = write(c, big + at, want - at);
            if (w <= 0)
                break;
            at += (size_t)w;
        }
        shutdown(c, SHUT_WR);
        long got = 0, k;
        while ((k = read(c, buf + got, sizeof buf - 1 - (size_t)got)) > 0)
            got += k;
        buf[got] = 0;
        say("error %d, the server says: %s", v, buf);
        close(c);
    }
    waitpid(pid, &status, 0);
    t_status("server", status);
}

static void datagrams(void)
{
    struct sockaddr_in a = any_port(), from;
    socklen_t n = sizeof a;
    char buf[16] = {0};
    int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
    bind(r, (struct sockaddr *)&a, sizeof a);
    getsockname(r, (struct sockaddr *)&a, &n);
    R("sendto", SYS_sendto, s, "datagram", 8L, 0, &a, (long)sizeof a);
    R("sendto nowhere", SYS_sendto, s, "x", 1L, 0, NULL, 0L);
    R("sendto empty", SYS_sendto, s, "", 0L, 0, &a, (long)sizeof a);
    R("sendto too long", SYS_sendto, s,
      mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 70000L, 0, &a,
      (long)sizeof a);
    n = sizeof from;
    R("recvfrom cut off", SYS_recvfrom, r, buf, 4L, 0, &from, &n);
    T("its sender", from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    say("%s", buf);
    R("recvfrom empty", SYS_recvfrom, r, buf, 4L, 0, &from, &n);
    R("recvfrom nothing", SYS_recvfrom, r, buf, 4L, MSG_DONTWAIT, &from, &n);
    R("connect a datagram socket", SYS_connect, s, &a, (long)sizeof a);
    R("write", SYS_write, s, "w", 1L);
    R("read", SYS_read, r, buf, 16L);
    R("listen on it", SYS_listen, r, 1);
    R("accept on it", SYS_accept, r, NULL, NULL);
    close(r), close(s);
}

static void unix_sockets(void)
{
    int p[2], q[2];
    char buf[16] = {0};
    R("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p);
    R("socketpair inet", SYS_socketpair, AF_INET, SOCK_STREAM, 0, q);
    R("socketpair bad pointer", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, BAD);
    R("socketpair type", SYS_socketpair, AF_UNIX, 99, 0, q);
    R("write", SYS_write, p[0], "pair", 4L);
    R("read", SYS_read, p[1], buf, 16L);
    close(p[0]);
    R("end", SYS_read, p[1], buf, 16L);
    R("broken", SYS_write, p[1], "x", 1L);
    close(p[1]);
    /* a socket with a name; a descriptor is handed over */
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "sock"},
                       missing = {.sun_family = AF_UNIX, .sun_path = "missing"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    R("connect missing", SYS_connect, c, &missing, (long)sizeof missing);
    R("bind a name", SYS_bind, s, &a, (long)sizeof a);
    struct stat st;
    stat("sock", &st);
    T("it is a socket", S_ISSOCK(st.st_mode));
    R("open it", SYS_openat, AT_FDCWD, "sock", O_RDWR, 0);
    R("connect without listener", SYS_connect, c, &a, (long)sizeof a);
    int again = socket(AF_UNIX, SOCK_STREAM, 0);
    R("bind it again", SYS_bind, again, &a, (long)sizeof a);
    listen(s, 1);
    R("connect", SYS_connect, c, &a, (long)sizeof a);
    int d = accept(s, NULL, NULL);
    t_file("passed", "through");
    int f = open("passed", O_RDONLY);
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } cm = {.h = {.cmsg_len = CMSG_LEN(sizeof(int)),
                  .cmsg_level = SOL_SOCKET,
                  .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&cm.h), &f, sizeof f);
    struct iovec io = {"!", 1};
    struct msghdr m = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm.space};
    R("send a descriptor", SYS_sendmsg, c, &m, 0);
    close(f);
    memset(&cm, 0, sizeof cm);
    io.iov_base = buf;
    m.msg_controllen = sizeof cm.space;
    R("receive it", SYS_recvmsg, d, &m, 0);
    memcpy(&f, CMSG_DATA(&cm.h), sizeof f);
    R("read it", SYS_read, f, buf, 16L);
    say("%.7s", buf);
    close(s), close(c), close(d), close(f);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
    write(p[0], "one", 3), write(p[0], "two", 3);
    R("datagrams keep their bounds", SYS_read, p[1], buf, 16L);
    R("each", SYS_read, p[1], buf, 16L);
    close(p[0]), close(p[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    making();
    stream();
    served();
    datagrams();
    unix_sockets();
    return 0;
}
