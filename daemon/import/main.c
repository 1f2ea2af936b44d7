/* vmd-import: started by vmd with its socket as descriptor 3 and the image to write as 4. */
#include "daemon/import/confine.h"
#include "daemon/import/import.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/log.h"
#include "proto/channel.h"
#include "proto/worker.pb-c.h"

#include <sys/socket.h>

#define IMAGE_FD (PB_CHILD_FD + 1)

int main(int argc, char **argv)
{
    struct err err = {.code = ERR_OK};
    log_set_name("vmd-import");
    PbFromImport result = PB_FROM_IMPORT__INIT;
    if (imp_confine(argc > 1 ? argv[1] : NULL, &err) || imp_run(PB_CHILD_FD, IMAGE_FD, &err)) {
        result.code = err.code;
        result.text = err.text;
    }
    CLEANUP(buf_fini) struct buf out = {0};
    pb_pack_child(&out, &result.base);
    if (out.failed || send(PB_CHILD_FD, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
        return 1;
    return 0;
}
