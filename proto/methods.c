#include "proto/methods.h"
#include "proto/daemon.pb-c.h"
#include "proto/event.pb-c.h"
#include "proto/grpc/health/v1/health.pb-c.h"
#include "proto/grpc/reflection/v1/reflection.pb-c.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"

#include <string.h>

#define ROW(service, name, ident, req, resp, kind, max)      \
    [PB_METHOD_##ident] = {service,                          \
                           name,                             \
                           "/" service "/" name,             \
                           sizeof("/" service "/" name) - 1, \
                           &pb_##req##__descriptor,          \
                           &pb_##resp##__descriptor,         \
                           PB_##kind,                        \
                           max},

const struct pb_method pb_methods[PB_METHOD_ALL_COUNT] = {
#define METHOD(service, name, ident, req, resp, kind, max) \
    ROW("vmd.v1." #service, #name, ident, req, resp, kind, max)
#include "proto/methods.def"
#undef METHOD
#define METHOD(service, name, ident, req, resp, kind, max) \
    ROW(#service, #name, ident, req, resp, kind, max)
#include "proto/standard.def"
#undef METHOD
};

enum pb_method_id pb_method_find(const char *path, size_t n)
{
    unsigned i = 0;
    while (i < PB_METHOD_ALL_COUNT &&
           (pb_methods[i].path_length != n || memcmp(pb_methods[i].path, path, n)))
        i++;
    return (enum pb_method_id)i;
}

bool pb_service_known(const char *name)
{
    for (unsigned i = 0; i < PB_METHOD_ALL_COUNT; i++)
        if (!strcmp(pb_methods[i].service, name))
            return true;
    return false;
}
