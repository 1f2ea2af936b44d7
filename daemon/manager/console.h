/*
 * manager/console.h - what a guest wrote: a bounded log with byte numbers, read by any number of readers.
 *
 * Looks into: base.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) Memory is bounded by MGR_CONSOLE_BYTES, touched only as far as it was used.
 *  (2) The last MGR_CONSOLE_KEPT bytes (heads of records included) are always there; older ones are
 *      overwritten, record by record. A reader that was behind learns how many bytes it lost.
 *  (3) A record never costs more than its bytes and MGR_CONSOLE_HEAD: credit given in that unit is room.
 *
 * Thread: one.
 */
#ifndef MANAGER_CONSOLE_H
#define MANAGER_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MGR_CONSOLE_BYTES ((size_t)448 * 1024)
#define MGR_CONSOLE_KEPT ((size_t)256 * 1024)
#define MGR_CONSOLE_HEAD 16 /* of a record */

struct mgr_console {
    uint8_t *data; /* NULL until the first byte */
    /* Positions never wrap; position p is data[p % MGR_CONSOLE_BYTES]. */
    uint64_t tail; /* of the oldest record's head */
    uint64_t last; /* of the newest record's head */
    uint64_t head; /* where the next record begins */
    uint64_t seq;  /* bytes ever written */
};

struct mgr_cursor {
    uint64_t pos; /* of a record's head, or console.head */
    uint64_t seq; /* of the next byte wanted */
};

void mgr_console_fini(struct mgr_console *c);
/* False: no memory (nothing was written). n is at most MGR_CONSOLE_KEPT / 2. */
bool mgr_console_put(struct mgr_console *c, unsigned stream, const void *p, size_t n);

/* From the first byte ever (what is gone counts as dropped); from what comes next. */
struct mgr_cursor mgr_console_begin(void);
struct mgr_cursor mgr_console_newest(const struct mgr_console *c);
/* Copy at most n bytes of one stream and move the cursor: how many, 0 if there are none. *dropped: bytes lost before them. */
size_t mgr_console_get(const struct mgr_console *c, struct mgr_cursor *at, unsigned *stream,
                       uint64_t *dropped, void *p, size_t n);
/* Room in use from the cursor on. */
uint64_t mgr_console_behind(const struct mgr_console *c, const struct mgr_cursor *at);

#endif
