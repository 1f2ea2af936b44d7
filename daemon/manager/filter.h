/*
 * manager/filter.h - which guests a client wants to see: "state=running and label.team=ci*".
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * filter = [term ("and" term)*]; term = field ("=" | "!=") value; field = state | name | image | tenant | label.KEY; a value is a word
 * or stands in double quotes; * in it stands for any characters. A term that says != is true for a label that is not there.
 * Thread: any.
 */
#ifndef MANAGER_FILTER_H
#define MANAGER_FILTER_H

#include "proto/guest.pb-c.h"
#include "engine/base/err.h"

#include <stdbool.h>

#define MGR_FILTER_TERMS_MAX 32

struct mgr_filter {
    struct mgr_term {
        char field[72], value[256];
        bool negated;
    } terms[MGR_FILTER_TERMS_MAX];
    unsigned count;
};

/* Fails: ERR_INVALID, with the column. */
res_t mgr_filter_parse(struct mgr_filter *f, const char *text, struct err *err);
bool mgr_filter_matches(const struct mgr_filter *f, const PbGuest *g);
/* Lower case, without the prefix: "running". */
const char *mgr_state_name(PbGuestState state);

#endif
