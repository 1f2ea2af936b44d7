// links: client/vmctl proto engine/base
/*
 * What a daemon tells about its API, and messages in its terms: two bytes (how long the description is), a FileDescriptorSet, a message.
 * Every type of the description is used to read the message, and what was read is translated back.
 */
#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/base.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct ctl_type *t, const uint8_t *p, size_t n)
{
    struct buf text = {0}, wire = {0};
    struct ctl_writer w;
    struct err err;
    ctl_w_init(&w, &text, CTL_FORM_JSON);
    if (!ctl_to_tree(t, p, n, &w, &err)) {
        json_t *json = json_loadb((const char *)text.data, text.len, 0, NULL);
        if (json && ctl_from_json(t, json, &wire, &err))
            ASSERT(err.text[0]);
        json_decref(json);
    }
    buf_fini(&text);
    buf_fini(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctl_schema s;
    struct err err;
    bool bad = false;
    if (size < 2)
        return 0;
    size_t n = MIN((size_t)(data[0] | data[1] << 8), size - 2);
    ctl_schema_init(&s);
    for (struct ctl_wire w = ctl_wire_over(data + 2, n); !bad && ctl_wire_next(&w);)
        bad = w.kind == CTL_WIRE_BYTES && ctl_schema_add(&s, w.p, w.n, &err);
    if (!bad && !ctl_schema_link(&s, &err))
        for (const struct ctl_type *t = s.types; t; t = t->next)
            use(t, data + 2 + n, size - 2 - n);
    ctl_schema_fini(&s);
    return 0;
}
