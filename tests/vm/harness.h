/* tests/vm/harness.h - run a guest to its end and keep what it printed. Aborts on trouble of the test's own. */
#ifndef TESTS_VM_HARNESS_H
#define TESTS_VM_HARNESS_H

#include "engine/base/buf.h"
#include "engine/vm/vm.h"

struct bytes {
    void *p;
    size_t n;
};
/* A whole file, mapped for the process's life. */
struct bytes harness_file(const char *path);

struct guest {
    struct vm *vm;
    struct vm_config config;
    struct buf out, err; /* what came out so far */
};
/* Fills a config that runs this program with these arguments; change it before guest_create. The arguments live as long as
 * the caller's array does. */
struct vm_config guest_config(struct bytes program, const char *const *argv);
void guest_create(struct guest *g, const struct vm_config *c); /* vm_create + vm_start, must succeed */
/* Pump the console until the end, or for timeout_ns; true if it ended (and all output was read). */
bool guest_finish(struct guest *g, uint64_t timeout_ns);
void guest_pump(struct guest *g);
void guest_free(struct guest *g);
/* Whole run: code as a shell sees it (128 + signal). */
int guest_run(const struct vm_config *c, struct buf *out);
const char *guest_out(struct guest *g); /* NUL-terminated */

#define SECONDS(n) ((uint64_t)(n)*1000000000u)
#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
