/* vmd-import: started by vmd with its socket as descriptor 3, the image as 4 and, for an archive, a spool file as 5. */
#include "daemon/import/import.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "proto/channel.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#define IMAGE_FD (PB_CHILD_FD + 1)
#define SPOOL_FD (PB_CHILD_FD + 2)

/* Whatever an archive makes us do ends here, not in the host's memory or time. */
static void limit(void)
{
    static const struct {
        int what;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, 16},
        {RLIMIT_CPU, 3600},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        {RLIMIT_AS, (rlim_t)1536 << 20},
#endif
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit r = {limits[i].value, limits[i].value};
        setrlimit((__typeof__(RLIMIT_CORE))limits[i].what, &r);
    }
}

int main(void)
{
    struct imp_fds fds = {PB_CHILD_FD, PB_CHILD_FD, IMAGE_FD,
                          fcntl(SPOOL_FD, F_GETFD) < 0 ? -1 : SPOOL_FD};
    log_set_name("vmd-import");
    limit();
    signal(SIGPIPE, SIG_IGN);
    imp_prepare();
    return imp_serve(&fds) ? 1 : 0;
}
