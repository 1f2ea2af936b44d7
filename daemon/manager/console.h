/*
 * manager/console.h - what a guest wrote: a bounded log with byte numbers and times, read by any number of readers.
 *
 * Looks into: base.  Used by: daemon/manager.
 *
 * The log is a ring in a file that is mapped, so it survives the daemon, however that ends. A file cannot be mapped where the
 * disk is full: then it is memory, and ends with the daemon.
 *
 * Rules:
 *  (1) The last kept_bytes (heads of records included) are always there; older ones are overwritten, record by record. A
 *      reader that was behind learns how many bytes it lost. Memory and disk: kept_bytes + MGR_CONSOLE_ROOM, from the first byte on.
 *  (2) A record never costs more than its bytes and MGR_CONSOLE_HEAD: credit given in that unit is room.
 *  (3) A reader of a file sees whole records only: head moves last.
 *
 * Thread: one.
 */
#ifndef MANAGER_CONSOLE_H
#define MANAGER_CONSOLE_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MGR_CONSOLE_KEPT ((size_t)256 * 1024) /* unless a guest asks for more or less */
#define MGR_CONSOLE_ROOM \
    ((size_t)192 * 1024)    /* beside what is kept: under way, and a guest's last words */
#define MGR_CONSOLE_HEAD 24 /* of a record */
#define MGR_CONSOLE_PUT_MAX ((size_t)96 * 1024)

/* The first page of the file. Positions never wrap; position p is ring byte p % ring_bytes. */
struct mgr_console_book {
    uint64_t magic, ring_bytes;
    uint64_t tail; /* of the oldest record's head */
    uint64_t last; /* of the newest record's head */
    uint64_t head; /* where the next record begins */
    uint64_t seq;  /* bytes ever written */
};

struct mgr_console {
    size_t ring_bytes;
    char *path;                    /* of its file; NULL: none */
    struct mgr_console_book *book; /* mapped; NULL until the first byte */
    uint8_t *data;                 /* the ring, behind the first page */
};

struct mgr_cursor {
    uint64_t pos; /* of a record's head, or book.head */
    uint64_t seq; /* of the next byte wanted */
};

/* path: where its file is or will be; NULL: memory only. Fails: ERR_NO_MEMORY. */
res_t mgr_console_init(struct mgr_console *c, size_t kept_bytes, const char *path, struct err *err);
/* Take over the file that an earlier daemon left; without one, or if it is damaged, the log is empty. */
void mgr_console_restore(struct mgr_console *c);
void mgr_console_fini(struct mgr_console *c, bool remove_file);
/* Bytes ever written. */
uint64_t mgr_console_seq(const struct mgr_console *c);
/* False: no memory (nothing was written). n is at most MGR_CONSOLE_PUT_MAX. time_ns: now. */
bool mgr_console_put(struct mgr_console *c, unsigned stream, const void *p, size_t n,
                     int64_t time_ns);

/* From the first byte ever (what is gone counts as dropped); from what comes next; from byte number seq; from what was written
 * at time_ns or later; from the last `lines` lines. */
struct mgr_cursor mgr_console_begin(void);
struct mgr_cursor mgr_console_newest(const struct mgr_console *c);
struct mgr_cursor mgr_console_from(const struct mgr_console *c, uint64_t seq);
struct mgr_cursor mgr_console_since(const struct mgr_console *c, int64_t time_ns);
struct mgr_cursor mgr_console_tail(const struct mgr_console *c, uint32_t lines);

struct mgr_piece {
    unsigned stream;
    uint64_t dropped; /* bytes lost before it */
    int64_t time_ns;
};
/* Copy at most n bytes of one stream and move the cursor: how many, 0 if there are none. */
size_t mgr_console_get(const struct mgr_console *c, struct mgr_cursor *at, struct mgr_piece *piece,
                       void *p, size_t n);
/* Room in use from the cursor on. */
uint64_t mgr_console_behind(const struct mgr_console *c, const struct mgr_cursor *at);

#endif
