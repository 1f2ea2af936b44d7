/* linux/fs_load.h - what the files that load a snapshot share. */
#ifndef LINUX_FS_LOAD_H
#define LINUX_FS_LOAD_H

#include "engine/linux/fs_save.h"

struct lx_loaded {
    struct lx_vfs *v;
    struct snap_reader *r;
    uint32_t count[LX_COUNTS];
    void **object[LX_COUNTS]; /* by number - 1: a reference each; NULL: not loaded */
    uint64_t next_ino[LX_SB_COUNT];
    uint32_t next_port, next_auto;
    uint32_t *peers; /* of each socket, until all are there */
};

uint32_t lx_load_u32(struct lx_loaded *l);
void *lx_load_ref(struct lx_loaded *l, int table);

bool lx_load_bad(struct lx_loaded *l, bool wrong,
                 const char *what);          /* true: refused, now or before */
bool lx_load_no_memory(struct lx_loaded *l); /* false */
uint32_t lx_load_max(struct lx_loaded *l, uint32_t max, const char *what);
struct lx_time lx_load_time(struct lx_loaded *l);

/* fs_load_file.c */
bool lx_load_pipe(struct lx_loaded *l, uint32_t at);
bool lx_load_tty(struct lx_loaded *l, uint32_t at);
bool lx_load_file(struct lx_loaded *l, uint32_t at);
bool lx_load_table(struct lx_loaded *l, uint32_t at);
bool lx_load_context(struct lx_loaded *l, uint32_t at);
bool lx_load_locks(struct lx_loaded *l);
bool lx_load_console(struct lx_loaded *l);

/* sock_load.c */
bool lx_load_sock(struct lx_loaded *l, uint32_t at);
bool lx_load_sock_links(struct lx_loaded *l);
bool lx_load_sock_queue(struct lx_loaded *l, uint32_t at);
void lx_load_sock_end(struct lx_sock *s);

#endif
