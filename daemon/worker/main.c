/* vmd-worker: started by vmd with its socket as descriptor 3; not for people. */
#include "daemon/worker/worker.h"
#include "engine/base/log.h"
#include "engine/vm/vm.h"
#include "proto/channel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

int main(void)
{
    struct err err;
    int type;
    socklen_t n = sizeof type;
    log_set_name("vmd-worker");
    if (getsockopt(PB_CHILD_FD, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_STREAM) {
        fputs("vmd-worker: it is started by vmd, not by hand\n", stderr);
        return 2;
    }
    fcntl(PB_CHILD_FD, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* ^C at the terminal of a vmd in the foreground is for vmd */
    if (vm_process_init(&err) || wk_run(PB_CHILD_FD, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    return 0;
}
