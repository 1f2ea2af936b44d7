/* vmctl: see ctl.h. */
#include "client/vmctl/ctl.h"

#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct ctl_args a = {0};
    int code;
    signal(SIGPIPE, SIG_IGN);
    if (!ctl_parse(argc, argv, &a, &code))
        code = a.command->run(&a);
    free(a.given);
    free(a.pos);
    if (fflush(stdout) && code == 0) /* the disk is full, or nobody reads */
        code = CTL_EXIT_ERROR;
    return code;
}
