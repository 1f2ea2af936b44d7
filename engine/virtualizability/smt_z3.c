/* An external z3, asked through pipes: see smt.h. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/virtualizability/smt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX ((size_t)16 << 20)

extern char **environ;

/* One socket is z3's standard input and output. */
static res_code_t start(int *fd, pid_t *pid, struct err *err)
{
    static const char *const words[] = {"z3", "-smt2", "-in", NULL};
    char *argv[ARRAY_LEN(words)];
    int ends[2];
    posix_spawn_file_actions_t actions;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        argv[i] = (char *)(uintptr_t)words[i];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return err_set_os(err, "a socket for z3");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    int failed = posix_spawnp(pid, "z3", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return err_set(err, failed == ENOENT ? ERR_UNAVAILABLE : ERR_OS,
                       "z3 cannot be started: %s; install it, or go without --solver",
                       strerror(failed));
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *fd = ends[0];
    return OK;
}

/* Writes all, reads until the end or the deadline. False: it did not end in time. */
static bool converse(int fd, const struct buf *question, struct buf *answer, uint64_t deadline)
{
    size_t sent = 0;
    bool open = true;
    char piece[65536];
    while (open && answer->len < ANSWER_BYTES_MAX) {
        uint64_t now = os_now_ns();
        if (now >= deadline)
            return false;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (sent < question->len)
            p.events |= POLLOUT;
        if (poll(&p, 1, (int)((deadline - now) / 1000000) + 1) < 0 && errno != EINTR)
            return false;
        if (p.revents & POLLOUT && sent < question->len) {
            ssize_t n = send(fd, question->data + sent, question->len - sent, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                return false;
            sent += n > 0 ? (size_t)n : 0;
            if (sent == question->len)
                shutdown(fd, SHUT_WR);
        }
        if (p.revents & (POLLIN | POLLHUP)) {
            ssize_t n = recv(fd, piece, sizeof piece, 0);
            if (n > 0)
                buf_put(answer, piece, (size_t)n);
            open = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
        }
    }
    return !open;
}

res_t pg_smt_ask(const struct pg_claim *c, uint64_t timeout_ns, enum pg_sat *sat,
                 struct buf *answer, struct err *err)
{
    CLEANUP(buf_fini) struct buf question = {0};
    CLEANUP(close_fd) int fd = -1;
    pid_t pid = 0;
    pg_smt_text(c, true, &question);
    if (question.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for the question to z3");
    if (start(&fd, &pid, err) != OK)
        return FAIL;
    bool ended = converse(fd, &question, answer, os_now_ns() + timeout_ns);
    if (!ended)
        kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *sat = PG_SAT_UNKNOWN;
    if (ended && answer->len >= 6 && !memcmp(answer->data, "unsat", 5))
        *sat = PG_UNSAT;
    else if (ended && answer->len >= 4 && !memcmp(answer->data, "sat\n", 4))
        *sat = PG_SAT;
    return OK;
}
