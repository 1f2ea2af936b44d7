/*
 * virtualizability/judge.h - from findings to lists, verdicts and advice. Only for this room.
 *
 * Looks into: analysis, question.  Used by: analysis.
 */
#ifndef VIRTUALIZABILITY_JUDGE_H
#define VIRTUALIZABILITY_JUDGE_H

#include "engine/virtualizability/question.h"

/* word[] and hole[] of r are there: the lists, the rule, the disagreement, the advice, and what `expect` says. */
void pg_judge_insn(struct pg_analysis *a, struct pg_result *r);
/* All results are there: the verdicts. */
void pg_judge_all(struct pg_analysis *a, bool only_one);
void pg_advise(struct pg_analysis *a, struct pg_result *r);

#endif
