#include "proto/methods.h"
#include "proto/daemon.pb-c.h"
#include "proto/event.pb-c.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"

#include <string.h>

const struct pb_method pb_methods[PB_METHOD_COUNT] = {
#define METHOD(service, name, ident, req, resp, kind, max) \
    [PB_METHOD_##ident] = {#service,                       \
                           #name,                          \
                           "/vmd.v1." #service "/" #name,  \
                           &pb_##req##__descriptor,        \
                           &pb_##resp##__descriptor,       \
                           PB_##kind,                      \
                           max},
#include "proto/methods.def"
#undef METHOD
};

enum pb_method_id pb_method_find(const char *path, size_t n)
{
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++)
        if (strlen(pb_methods[i].path) == n && !memcmp(pb_methods[i].path, path, n))
            return (enum pb_method_id)i;
    return PB_METHOD_COUNT;
}
