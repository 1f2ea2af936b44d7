#include "proto/h2.h"

res_code_t pb_h2_send(nghttp2_session *h2, struct buf *out, size_t enough, struct err *err)
{
    while (out->len < enough) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(h2, &p);
        if (n < 0)
            return err_set(err, ERR_NO_MEMORY, "HTTP/2: %s", nghttp2_strerror((int)n));
        if (n == 0)
            break;
        buf_put(out, p, (size_t)n);
    }
    if (out->failed)
        return err_set(err, ERR_NO_MEMORY, "no memory to send");
    return OK;
}
