/*
 * worker/confine.h - a worker locks itself in: which calls, by class of thread (calls.def), how many descriptors and threads.
 *
 * Looks into: proto, daemon/confine.  Used by: this room, tests.
 * Rules:
 *  (1) A vCPU thread has its filter before it runs anything of a guest; a thread whose filter fails ends the worker.
 *  (2) What became of each layer is in the worker's hello. A host that lacks one gets a worker without it; the manager says so.
 * Thread: main's, before there is another.
 */
#ifndef WORKER_CONFINE_H
#define WORKER_CONFINE_H

#include "daemon/confine/confine.h"
#include "proto/worker.pb-c.h"

enum wk_class { WK_LOOP = 1, WK_VCPU = 2, WK_HELPER = 4, WK_ALL = WK_LOOP | WK_VCPU | WK_HELPER };
extern const struct cf_rule wk_rules[];
extern const size_t wk_rule_count;

/* An abort (an assertion of our own) ends the worker with this code: process 1 of a namespace cannot be ended by its own signals. */
#define WK_EXIT_ABORT 134

/* First thing in main. */
void wk_confine_begin(int argc, char **argv);
/* From now on nothing but calls.def. Fills hello->layers, which lives as long as the process. Fails: ERR_NO_MEMORY. */
res_t wk_confine(PbWorkerHello *hello, struct err *err);

#endif
