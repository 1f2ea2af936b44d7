// links: client/vmctl proto engine/base
/* vmctl's configuration file. */
#include "client/vmctl/config.h"
#include "engine/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctl_config c = {0};
    struct err err = {0};
    arena_init(&c.arena, 1 << 20);
    if (ctl_config_parse(&c, "config.yaml", data, size, &err))
        ASSERT(err.text[0]);
    ctl_config_fini(&c);
    return 0;
}
