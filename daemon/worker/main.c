/* vmd-worker: started by vmd with its socket as descriptor 3; not for people. */
#include "daemon/worker/confine.h"
#include "daemon/worker/worker.h"
#include "engine/base/log.h"
#include "engine/vm/vm.h"
#include "proto/channel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

int main(int argc, char **argv)
{
    struct err err;
    int type, listens = 0,
              listen_fd = PB_CHILD_FD + 1; /* where vmd puts it, if guests may outlive it */
    socklen_t n = sizeof type;
    log_set_name("vmd-worker");
    if (getsockopt(PB_CHILD_FD, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_STREAM) {
        fputs("vmd-worker: it is started by vmd, not by hand\n", stderr);
        return 2;
    }
    wk_confine_begin(argc, argv);
    fcntl(PB_CHILD_FD, F_SETFD, FD_CLOEXEC);
    n = sizeof listens;
    if (!getsockopt(listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) && listens)
        fcntl(listen_fd, F_SETFD, FD_CLOEXEC);
    else
        listen_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* ^C at the terminal of a vmd in the foreground is for vmd */
    if (vm_process_init(&err) || wk_run(PB_CHILD_FD, listen_fd, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    return 0;
}
