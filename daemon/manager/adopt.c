/* Workers that outlive their daemon: rule (5) of worker.h. */
#include "daemon/manager/config.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/worker_int.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* Through a descriptor of the folder: a state folder's path may be longer than a socket's can be. */
static struct sockaddr_un address(int dir, uint64_t number)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "/proc/self/fd/%d/%llu", dir,
             (unsigned long long)number);
    return sa;
}

uint32_t mgr_orphan_seconds(const struct mgr *m)
{
    return m->opt->config->workers_running_guests == MGR_RUNNING_GUESTS_ADOPT
               ? (uint32_t)(m->opt->config->workers_adopt_within_ns / 1000000000)
               : 0;
}

static int open_dir(const struct mgr *m)
{
    char path[PB_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/workers", m->opt->state);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int mgr_worker_listen(const struct mgr_worker *w)
{
    if (!mgr_orphan_seconds(w->m))
        return -1;
    CLEANUP(close_fd) int dir = open_dir(w->m);
    struct sockaddr_un sa = address(dir, w->number);
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0 || (unlink(sa.sun_path) < 0 && errno != ENOENT) ||
        bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 4) < 0) {
        log_warn("worker %llu will not outlive this daemon: %s", (unsigned long long)w->number,
                 strerror(errno));
        return -1;
    }
    int listening = fd;
    fd = -1;
    return listening;
}

void mgr_worker_forget_socket(const struct mgr_worker *w)
{
    CLEANUP(close_fd) int dir = open_dir(w->m);
    char name[24];
    snprintf(name, sizeof name, "%llu", (unsigned long long)w->number);
    if (dir >= 0)
        unlinkat(dir, name, 0);
    if (w->tenant)
        mgr_worker_record(w, true);
}

/* When the process with this number began, in ticks since the host's start; 0: there is none. */
static uint64_t start_ticks(uint32_t pid)
{
    char path[64], line[1024];
    unsigned long long ticks = 0;
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    const char *p = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!p ||
        sscanf(p,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) != 1)
        return 0;
    return ticks;
}

void mgr_worker_record(const struct mgr_worker *w, bool gone)
{
    PbStateWorker state = PB_STATE_WORKER__INIT;
    state.id = w->number;
    state.pid = mgr_worker_pid(w);
    state.start_ticks = gone ? 0 : start_ticks(state.pid);
    state.tenant = (char *)(uintptr_t)(w->tenant ? w->tenant->name : "");
    state.gone = gone;
    MGR_RECORD(WORKER, worker, &state);
    mgr_journal_put(w->m, &record);
}

void mgr_workers_snapshot(struct mgr *m)
{
    list_for_each(l, &m->workers)
    {
        const struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (w->tenant)
            mgr_worker_record(w, false);
    }
}

void mgr_workers_leave(struct mgr *m)
{
    list_for_each(l, &m->workers)
    {
        struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (w->guest_count)
            mgr_child_detach(&w->child);
        else
            mgr_child_hang_up(&w->child);
    }
}

/* ---- a later daemon ---- */

static int connect_to(struct mgr *m, uint64_t number)
{
    CLEANUP(close_fd) int dir = open_dir(m);
    struct sockaddr_un sa = address(dir, number);
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
        return -1;
    int connected = fd;
    fd = -1;
    return connected;
}

res_t mgr_worker_adopt(struct mgr *m, const PbStateWorker *state, struct mgr_worker **out,
                       struct err *err)
{
    CLEANUP(close_fd) int pidfd = (int)syscall(SYS_pidfd_open, state->pid, 0);
    if (pidfd < 0 || start_ticks(state->pid) != state->start_ticks)
        return err_set(err, ERR_NOT_FOUND, "its worker, process %u, ended while no daemon ran",
                       state->pid);
    CLEANUP(close_fd) int fd = connect_to(m, state->id);
    if (fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "its worker, process %u, cannot be reached: %s",
                       state->pid, strerror(errno));
    struct mgr_worker *w = mgr_worker_new(m, state->id, err);
    if (!w)
        return FAIL;
    w->adopted = true;
    w->tenant = mgr_tenant_find(m, state->tenant);
    w->once = w->tenant && w->tenant->config && w->tenant->config->isolate_guests;
    mgr_child_adopt(&w->child, m->loop, state->pid, pidfd, fd, mgr_worker_on_poll);
    mgr_worker_enter(w, fd);
    fd = pidfd = -1;
    *out = w;
    return OK;
}

void mgr_worker_expect(struct mgr_worker *w, struct mgr_guest *g)
{
    list_append(&w->guests, &g->at_worker);
    w->guest_count++;
    g->worker = w;
    g->worker_id = w->number;
    g->worker_pid = mgr_worker_pid(w);
}
