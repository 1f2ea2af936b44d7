/*
 * manager/journal.h - what must outlive the daemon: one file of records, each with its length and a checksum.
 *
 * Looks into: proto, base.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) A record is in the file (written, not yet synced) before its effect is told to anybody: a daemon that is killed
 *      loses nothing that it acknowledged. Syncing follows at once, in the pool, for many records together.
 *  (2) A record that is cut off at the end of the file was never acknowledged; it is dropped with a line in the log. One that is
 *      damaged elsewhere ends the start: nothing is guessed.
 *  (3) The file is made anew when most of it is history: written beside, synced, renamed.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_JOURNAL_H
#define MANAGER_JOURNAL_H

#include "daemon/manager/manager.h"
#include "proto/state.pb-c.h"

struct mgr_journal;

/* Read what is there, calling `use` for each record in its order (head too), then be ready for more. `snapshot` puts all
 * that is now true (but the head) with mgr_journal_put, when the file is made anew. Fails: ERR_OS, ERR_INVALID (damaged, or of a newer version). */
res_t mgr_journal_open(struct mgr *m,
                       res_code_t (*use)(struct mgr *m, const PbStateRecord *r, struct err *err),
                       void (*snapshot)(struct mgr *m), struct err *err);
/* Rule (1). A failure to write is logged, and shown by mgr_journal_broken(). */
void mgr_journal_put(struct mgr *m, const PbStateRecord *r);
/* The disk refused: new guests are refused until it takes records again. */
bool mgr_journal_broken(const struct mgr *m);
void mgr_journal_close(struct mgr *m);

#define MGR_RECORD(case_, field_, value_)             \
    PbStateRecord record = PB_STATE_RECORD__INIT;     \
    record.kind_case = PB_STATE_RECORD__KIND_##case_; \
    record.field_ = (value_)

#endif
