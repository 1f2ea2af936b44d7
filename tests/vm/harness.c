#include "tests/vm/harness.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct bytes harness_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        fprintf(stderr, "harness: cannot read %s\n", path);
        abort();
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    ASSERT(p != MAP_FAILED);
    close(fd);
    return (struct bytes){p, (size_t)st.st_size};
}

struct vm_config guest_config(struct bytes program, const char *const *argv)
{
    return (struct vm_config){
        .name = "guest", .image_fd = -1, .argv = argv, .program = program.p, .program_bytes = program.n};
}

/* cmocka puts handlers of its own over the engine's at the start of each test: keep the engine's, and put them back. */
static void keep_handlers(bool made)
{
    static struct sigaction segv, bus;
    static bool kept;
    if (!made && kept) {
        sigaction(SIGSEGV, &segv, NULL);
        sigaction(SIGBUS, &bus, NULL);
    } else if (made && !kept) {
        sigaction(SIGSEGV, NULL, &segv);
        sigaction(SIGBUS, NULL, &bus);
        kept = true;
    }
}

void guest_create(struct guest *g, const struct vm_config *c)
{
    struct err err = {0};
    *g = (struct guest){.config = *c};
    keep_handlers(false);
    if (vm_create(c, NULL, &g->vm, &err) != OK || vm_start(g->vm, &err) != OK) {
        fprintf(stderr, "harness: %s\n", err.text);
        abort();
    }
    keep_handlers(true);
}

static size_t pump_one(struct guest *g, int stream, struct buf *b)
{
    size_t sum = 0, n;
    char chunk[16384];
    while ((n = vm_console_read(g->vm, stream, chunk, sizeof chunk)) > 0) {
        buf_put(b, chunk, n);
        sum += n;
    }
    return sum;
}

void guest_pump(struct guest *g)
{
    pump_one(g, 1, &g->out);
    pump_one(g, 2, &g->err);
}

bool guest_finish(struct guest *g, uint64_t timeout_ns)
{
    uint64_t until = os_now_ns() + timeout_ns;
    bool ended;
    do {
        ended = vm_wait(g->vm, 1000000);
        guest_pump(g);
    } while (!ended && os_now_ns() < until);
    return ended;
}

void guest_free(struct guest *g)
{
    vm_free(g->vm);
    buf_fini(&g->out);
    buf_fini(&g->err);
}

int guest_run(const struct vm_config *c, struct buf *out)
{
    struct guest g;
    guest_create(&g, c);
    ASSERT(guest_finish(&g, SECONDS(120)));
    const struct vm_end *end = vm_end(g.vm);
    int code = end->kind == VM_END_EXIT ? end->code : 128 + end->code;
    if (out)
        buf_put(out, g.out.data, g.out.len);
    guest_free(&g);
    return code;
}

const char *guest_out(struct guest *g)
{
    buf_put_u8(&g->out, 0);
    ASSERT(!g->out.failed);
    g->out.len--;
    return (const char *)g->out.data;
}
