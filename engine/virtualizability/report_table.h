/*
 * virtualizability/report_table.h - what an analysis has found, as a table for a terminal.
 *
 * Looks into: base, analysis, report.  Used by: client/vmctl, the tests.
 *
 * One line for each instruction, then the verdicts, the critical list with what to do about it, and what the model leaves
 * out; with `full` (one instruction was asked for) the witnesses too. Nothing is wider than 100 columns but names.
 */
#ifndef VIRTUALIZABILITY_REPORT_TABLE_H
#define VIRTUALIZABILITY_REPORT_TABLE_H

#include "engine/base/buf.h"
#include "engine/virtualizability/analysis.h"

void pg_report_table(const struct pg_analysis *a, bool full, struct buf *out);

/* --diverge: each hole's witness run bare and through the VM map in the interpreter, and what differs. */
void pg_report_divergence(const struct pg_analysis *a, struct buf *out);

#endif
