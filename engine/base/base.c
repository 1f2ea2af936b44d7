#include "engine/base/base.h"
#include "engine/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void base_assert_failed(const char *expr, const char *file, int line, const char *func)
{
    log_write(LOG_ERROR, "assertion failed: %s (%s:%d, %s)", expr, file, line, func);
    abort();
}

void free_ptr(void *pp)
{
    free(*(void **)pp);
}

void close_fd(int *fd)
{
    if (*fd < 0)
        return;
    int e = errno;
    close(*fd);
    errno = e;
}
