/* ListGuests: a filter, and pages. */
#include "daemon/manager/conn.h"
#include "daemon/manager/filter.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A token is the number of the last guest of the page before: guests are listed by number, and numbers only grow, so nothing is
 * listed twice or passed over, whatever happens between two pages. */
static res_code_t parse_token(const char *token, uint64_t *after, struct err *err)
{
    *after = 0;
    if (!token[0])
        return OK;
    if (token[0] != 'g' || strlen(token) > 20 || !token[1] ||
        strspn(token + 1, "0123456789") != strlen(token + 1))
        return err_set(err, ERR_INVALID, "page_token \"%.40s\" is none that this daemon gave",
                       token);
    *after = strtoull(token + 1, NULL, 10);
    return OK;
}

struct listing {
    const struct mgr_tenant *tenant; /* NULL: all */
    struct mgr_filter filter;
    uint64_t after;
    size_t most;
};

static res_code_t what_is_wanted(const struct pb_call *call, const PbListGuestsRequest *r,
                                 struct listing *w, struct err *err)
{
    w->tenant = mgr_caller(call);
    if (r->all_tenants) {
        if (mgr_require_admin(call, err))
            return FAIL;
        w->tenant = NULL;
    }
    w->most = r->page_size ? r->page_size : SIZE_MAX;
    if (parse_token(r->page_token, &w->after, err))
        return FAIL;
    return mgr_filter_parse(&w->filter, r->filter, err);
}

void mgr_list_guests(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbListGuestsRequest *r = (const PbListGuestsRequest *)msg;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    PbListGuestsResponse resp = PB_LIST_GUESTS_RESPONSE__INIT;
    struct listing *w = malloc(sizeof *w);
    size_t cap = MIN(r->page_size ? (size_t)r->page_size : SIZE_MAX, (size_t)m->guest_count) + 1;
    struct mgr_guest_msg *all = calloc(cap, sizeof *all);
    PbGuest **pointers = calloc(cap, sizeof *pointers);
    char token[24];
    struct err err;
    if (!w || !all || !pointers) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of %u guests", m->guest_count);
        pb_call_finish(call, &err);
    } else if (what_is_wanted(call, r, w, &err)) {
        pb_call_finish(call, &err);
    } else {
        list_for_each(l, &m->guests)
        {
            const struct mgr_guest *g = list_entry(l, struct mgr_guest, link);
            if (g->id <= w->after || (w->tenant && g->tenant != w->tenant))
                continue;
            if (resp.n_guests == w->most) { /* there may be more */
                snprintf(token, sizeof token, "g%s", pointers[w->most - 1]->id);
                resp.next_page_token = token;
                break;
            }
            mgr_guest_fill(g, &all[resp.n_guests]);
            if (mgr_filter_matches(&w->filter, &all[resp.n_guests].guest)) {
                pointers[resp.n_guests] = &all[resp.n_guests].guest;
                resp.n_guests++;
            }
        }
        resp.guests = pointers;
        pb_call_reply(call, &resp.base);
    }
    free(all);
    free(pointers);
    free(w);
}
