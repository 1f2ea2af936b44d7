/* Jump tables: one per (space, thread); and the one that always misses. */
#include "engine/base/os.h"
#include "engine/codecache/internal.h"

#include <sys/mman.h>

#define JT_BYTES (CPU_JT_COUNT * sizeof(struct cpu_jt_entry))

static struct cpu_jt_entry *missing;

static struct cpu_jt_entry *map_table(void)
{
    struct cpu_jt_entry *t = mmap(NULL, JT_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t == MAP_FAILED)
        return NULL;
    atomic_store_explicit(&t[0].pc, cpu_jt_none(0), memory_order_relaxed);
    return t;
}

res_code_t cc_process_init(struct err *err)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (!missing) {
        struct cpu_jt_entry *t = map_table();
        if (t && mprotect(t, JT_BYTES, PROT_READ) == 0)
            missing = t;
        else if (t)
            munmap(t, JT_BYTES);
    }
    res_code_t rc = missing ? OK : err_set_os(err, "jump table");
    pthread_mutex_unlock(&once);
    return rc;
}

struct cpu_jt_entry *cc_missing_table(void)
{
    return missing;
}

struct cpu_jt_entry *cc_jt_new(void)
{
    struct cpu_jt_entry *t = map_table();
    if (t) /* even a small program looks at half of it */
        os_populate(t, JT_BYTES, true);
    return t ? t : missing;
}

void cc_jt_free(struct cpu_jt_entry *jt)
{
    if (jt && jt != missing)
        munmap(jt, JT_BYTES);
}
