/*
 * translate/internal.h - what the files of this room share. Nobody else includes it.
 */
#ifndef TRANSLATE_INTERNAL_H
#define TRANSLATE_INTERNAL_H

#include "engine/base/arena.h"
#include "engine/ir/ir.h"
#include "engine/translate/translate.h"

#include <pthread.h>

struct xl {
    struct xl_config config;
    struct prof *prof;
    struct cc_cache *cache;
    pthread_mutex_t lock; /* a leaf: the next four */
    pthread_cond_t wake;
    bool work, stop, running;
    pthread_t thread;
};

struct xl_thread {
    struct xl *xl;
    struct cc_thread *cc;
    struct prof_source *source;
    struct arena arena;
    struct ir_block block;
};

/* worker.c */
void xl_stop(struct xl *x);

#endif
