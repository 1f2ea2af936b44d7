/*
 * random/corpus.h - programs kept as text; the format is described at the head of regressions.txt.
 */
#ifndef RANDOM_CORPUS_H
#define RANDOM_CORPUS_H

#include "tests/random/gen.h"

#include <stdio.h>

/* The next program and its name. False at the end of the file; text that is neither is the end of the process. */
bool corpus_read(FILE *f, struct gen_program *p, char name[64]);

#endif
