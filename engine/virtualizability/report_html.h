/*
 * virtualizability/report_html.h - the two halves of the HTML report: the page with its table (report_html.c), and the part about
 * one instruction with its states drawn (report_html_insn.c).
 *
 * Looks into: base, analysis.  Used by: those two files.
 */
#ifndef VIRTUALIZABILITY_REPORT_HTML_H
#define VIRTUALIZABILITY_REPORT_HTML_H

#include "engine/virtualizability/report.h"

/* Text as the content of an element or of a quoted attribute. NULL: nothing. */
void pg_html_text(struct buf *out, const char *text);
/* The part about one instruction; its id is "i" and the index. */
void pg_html_insn(const struct pg_analysis *a, const struct pg_result *r, uint32_t index,
                  struct buf *out);

#endif
