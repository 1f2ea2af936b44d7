/* vmd-import: started by vmd with its socket as descriptor 3, the image as 4 and, for an archive, a spool file as 5. */
#include "daemon/import/confine.h"
#include "daemon/import/import.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "proto/channel.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* A sanitizer's shadow is larger than any limit. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_SPACE_BYTES RLIM_INFINITY
#else
#define ADDRESS_SPACE_BYTES ((rlim_t)1536 << 20)
#endif

#define IMAGE_FD (PB_CHILD_FD + 1)
#define SPOOL_FD (PB_CHILD_FD + 2)

/* Whatever an archive makes us do ends here, not in the host's memory or time. */
static void limit(void)
{
    static const struct {
        int what;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CPU, 3600},
        {RLIMIT_AS, ADDRESS_SPACE_BYTES},
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit r = {limits[i].value, limits[i].value};
        setrlimit((__typeof__(RLIMIT_CORE))limits[i].what, &r);
    }
}

int main(int argc, char **argv)
{
    struct err err;
    struct imp_fds fds = {PB_CHILD_FD, PB_CHILD_FD, IMAGE_FD,
                          fcntl(SPOOL_FD, F_GETFD) < 0 ? -1 : SPOOL_FD};
    log_set_name("vmd-import");
    limit();
    signal(SIGPIPE, SIG_IGN);
    imp_prepare();
    if (imp_confine(argc > 1 ? argv[1] : NULL, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    return imp_serve(&fds) ? 1 : 0;
}
