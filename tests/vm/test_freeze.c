/* A shell pipeline is frozen at random points, saved, loaded into a new instance, and finishes with the same output. */
#include "tests/vm/harness.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct bytes busybox;

/* Every blocking call of the shell's daily life: pipes full and empty, wait, sleep, a fifo, poll, a background
 * job, a terminal's absence; output made on the way and at the end. */
static const char script[] =
    "i=0; while [ $i -lt 400 ]; do echo line $i $((i*i)); i=$((i+1)); done | sort -r | sed 's/line/row/' |"
    " awk '{s+=$3; if (NR%50==0) print NR, $2, s} END {print \"sum\", s}'\n"
    "(sleep 0.05; echo later) & echo before; wait; echo after\n"
    "mkfifo /tmp/f; (cat /tmp/f | tr a-z A-Z) & echo through a fifo > /tmp/f; wait\n"
    "yes | head -c 200000 | wc -c\n"
    "trap 'echo got usr1' USR1; (sleep 0.02; kill -USR1 $$) & wait; wait; echo end\n";

static struct vm_config config(void)
{
    struct vm_config c = guest_config(busybox, NULL);
    static const char *const argv[] = {"sh", "-c", script, NULL};
    c.argv = argv;
    return c;
}

static int setup(void **state)
{
    (void)state;
    busybox = harness_file(VV_BUSYBOX);
    return 0;
}

static void freeze(struct guest *g, struct vm_config *c)
{
    struct err err = {0};
    void *records = NULL;
    size_t n = 0;
    CLEANUP(close_fd) int fd = -1;
    assert_int_equal(os_memfd("pages", 0, &fd, &err), OK);
    if (vm_pause(g->vm, &err) != OK)
        return; /* it ended in the meantime */
    guest_pump(g);
    if (vm_save(g->vm, fd, &records, &n, &err) != OK)
        fail_msg("save: %s", err.text);
    vm_free(g->vm);
    if (vm_load(c, NULL, records, n, fd, &g->vm, &err) != OK)
        fail_msg("load: %s", err.text);
    free(records);
    if (vm_resume(g->vm, &err) != OK)
        fail_msg("resume: %s", err.text);
}

static void a_pipeline_frozen_at_two_hundred_points_finishes_with_the_same_output(void **state)
{
    (void)state;
    struct vm_config c = config();
    struct guest whole;
    uint64_t t0 = os_now_ns();
    guest_create(&whole, &c);
    assert_true(guest_finish(&whole, SECONDS(60)));
    uint64_t length = os_now_ns() - t0;
    assert_int_equal(vm_end(whole.vm)->kind, VM_END_EXIT);
    assert_non_null(strstr(guest_out(&whole), "sum 21253400"));
    assert_non_null(strstr(guest_out(&whole), "THROUGH A FIFO"));
    assert_non_null(strstr(guest_out(&whole), "got usr1"));

    struct rng rng;
    uint64_t seed = os_now_ns();
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    int frozen = 0;
    while (frozen < 200) {
        struct guest g;
        guest_create(&g, &c);
        for (int i = 0; i < 8; i++, frozen++) { /* a guest may be frozen again and again */
            if (vm_wait(g.vm, rng_below(&rng, length / 4)))
                break;
            freeze(&g, &c);
        }
        if (!guest_finish(&g, SECONDS(60)))
            fail_msg("stands still after %d freezes; so far: %s", frozen, guest_out(&g));
        assert_string_equal(guest_out(&g), guest_out(&whole));
        assert_int_equal(vm_end(g.vm)->code, vm_end(whole.vm)->code);
        guest_free(&g);
    }
    guest_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipeline_frozen_at_two_hundred_points_finishes_with_the_same_output),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
