/*
 * import/confine.h - the importer locks itself in before it reads the first entry (calls.def).
 * Looks into: daemon/confine.  Used by: its main, tests.  Thread: main's, the only one.
 */
#ifndef IMPORT_CONFINE_H
#define IMPORT_CONFINE_H

#include "daemon/confine/confine.h"

enum imp_class { IMP_MAIN = 1 };
extern const struct cf_rule imp_rules[];
extern const size_t imp_rule_count;

/* word: argv[1]. From now on nothing but calls.def. Fails: ERR_NO_MEMORY; what the host lacks is gone without, as in workers. */
res_t imp_confine(const char *word, struct err *err);

#endif
