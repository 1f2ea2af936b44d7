#include "daemon/manager/guest.h"
#include "daemon/manager/event.h"
#include "daemon/manager/image.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S(x) PB_GUEST_STATE_##x
#define STATE_COUNT (S(RESTARTING) + 1)
#define RESTART_MS_FIRST 100
#define RESTART_MS_MOST 60000

/* The state machine: next state by state and event; 0 (UNSPECIFIED): refused. DELETE leaves the state: the guest goes. Drawn in
 * ARCHITECTURE.md. */
static const uint8_t next_state[STATE_COUNT][MGR_EV_COUNT] = {
    [S(CREATED)] =
        {[MGR_EV_START] = S(STARTING), [MGR_EV_STOP] = S(ENDED), [MGR_EV_DELETE] = S(CREATED)},
    [S(STARTING)] = {[MGR_EV_STARTED] = S(RUNNING),
                     [MGR_EV_REFUSED] = S(FAILED),
                     [MGR_EV_SIGNAL] = S(STARTING),
                     [MGR_EV_STOP] = S(STOPPING),
                     [MGR_EV_LOST] = S(FAILED)},
    [S(RUNNING)] = {[MGR_EV_SIGNAL] = S(RUNNING),
                    [MGR_EV_PAUSE] = S(RUNNING),
                    [MGR_EV_PAUSED] = S(PAUSED),
                    [MGR_EV_RESUMED] = S(RUNNING),
                    [MGR_EV_STOP] = S(STOPPING),
                    [MGR_EV_ENDED] = S(ENDED),
                    [MGR_EV_LOST] = S(FAILED)},
    [S(PAUSED)] = {[MGR_EV_SIGNAL] = S(PAUSED),
                   [MGR_EV_RESUME] = S(PAUSED),
                   [MGR_EV_PAUSED] = S(PAUSED),
                   [MGR_EV_RESUMED] = S(RUNNING),
                   [MGR_EV_STOP] = S(STOPPING),
                   [MGR_EV_ENDED] = S(ENDED),
                   [MGR_EV_LOST] = S(FAILED)},
    [S(STOPPING)] = {[MGR_EV_STARTED] = S(STOPPING),
                     [MGR_EV_REFUSED] = S(FAILED),
                     [MGR_EV_SIGNAL] = S(STOPPING),
                     [MGR_EV_PAUSED] = S(STOPPING),
                     [MGR_EV_RESUMED] = S(STOPPING),
                     [MGR_EV_STOP] = S(STOPPING),
                     [MGR_EV_ENDED] = S(ENDED),
                     [MGR_EV_LOST] = S(FAILED)},
    [S(ENDED)] = {[MGR_EV_RESTART] = S(RESTARTING), [MGR_EV_DELETE] = S(ENDED)},
    [S(FAILED)] = {[MGR_EV_RESTART] = S(RESTARTING), [MGR_EV_DELETE] = S(FAILED)},
    [S(RESTARTING)] =
        {[MGR_EV_START] = S(STARTING), [MGR_EV_STOP] = S(ENDED), [MGR_EV_DELETE] = S(RESTARTING)},
};
static const char *const state_words[STATE_COUNT] = {
    [S(CREATED)] = "was not started", [S(STARTING)] = "is starting",
    [S(RUNNING)] = "is running",      [S(STOPPING)] = "is being stopped",
    [S(ENDED)] = "has ended before",  [S(FAILED)] = "has failed before",
    [S(PAUSED)] = "is paused",        [S(RESTARTING)] = "waits for its restart",
};
static const struct {
    const char *words, *reason;
} event_words[MGR_EV_COUNT] = {
    [MGR_EV_START] = {"it cannot be started again; create a new one", "GUEST_STARTED"},
    [MGR_EV_SIGNAL] = {"it takes no signals or input", "GUEST_NOT_RUNNING"},
    [MGR_EV_PAUSE] = {"only a running guest can be paused", "GUEST_NOT_RUNNING"},
    [MGR_EV_RESUME] = {"only a paused guest can go on", "GUEST_NOT_PAUSED"},
    [MGR_EV_STOP] = {"there is nothing to stop", "GUEST_NOT_RUNNING"},
    [MGR_EV_DELETE] = {"stop it first, or use force", "GUEST_RUNNING"},
};

bool mgr_guest_running(const struct mgr_guest *g)
{
    return g->state == S(STARTING) || g->state == S(RUNNING) || g->state == S(STOPPING) ||
           g->state == S(PAUSED);
}

bool mgr_guest_over(const struct mgr_guest *g)
{
    return g->state == S(ENDED) || g->state == S(FAILED);
}

static void uncharge(struct mgr_guest *g)
{
    if (!g->charged)
        return;
    g->charged = false;
    mgr_quota_give(g->tenant, MGR_QUOTA_MEMORY, g->limits.memory_bytes);
    mgr_quota_give(g->tenant, MGR_QUOTA_VCPUS, g->spec->vcpus);
    mgr_quota_give(g->tenant, MGR_QUOTA_DISK, g->limits.overlay_bytes);
}

/* Rule (1). Fails: ERR_STATE. */
res_t mgr_guest_advance(struct mgr_guest *g, enum mgr_change ev, struct err *err)
{
    PbGuestState next = next_state[g->state][ev];
    if (!next) {
        err_set(err, ERR_STATE, "guest \"%s\" %s: %s", g->name, state_words[g->state],
                event_words[ev].words ? event_words[ev].words : "unexpected");
        return err_explain(err, event_words[ev].reason, "guest", g->name, event_words[ev].words);
    }
    bool was_running = mgr_guest_running(g), was_over = mgr_guest_over(g);
    if (next == g->state)
        return OK;
    if (ev == MGR_EV_STARTED)
        mgr_count_start(g->m, os_now_ns() - g->start_mono_ns);
    else if (ev == MGR_EV_ENDED)
        mgr_count(g->m, MGR_METRIC_GUEST_ENDS, 1);
    else if (next == S(FAILED))
        mgr_count(g->m, MGR_METRIC_GUEST_FAILURES, 1);
    g->m->by_state[g->state]--;
    g->m->by_state[next]++;
    g->state = next;
    if (mgr_guest_running(g) != was_running)
        was_running ? g->m->guests_active-- : g->m->guests_active++;
    if (was_running && !mgr_guest_running(g))
        uncharge(g);
    if (mgr_guest_over(g) != was_over) {
        if (was_over)
            g->tenant->used[MGR_QUOTA_GUESTS]++; /* it is only back from its end */
        else
            mgr_quota_give(g->tenant, MGR_QUOTA_GUESTS, 1);
    }
    if (!mgr_guest_over(g)) /* else mgr_guest_is_over does, when it is known how it ended */
        mgr_guest_record(g);
    return OK;
}

/* ---- creation ---- */

static PbCreateGuestRequest *copy_spec(const PbCreateGuestRequest *spec)
{
    size_t n = protobuf_c_message_get_packed_size(&spec->base);
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(&spec->base, bytes);
    PbCreateGuestRequest *copy = pb_create_guest_request__unpack(NULL, n, bytes);
    free(bytes);
    return copy;
}

static void free_specs(struct mgr_guest *g)
{
    if (!g)
        return;
    if (g->spec)
        pb_create_guest_request__free_unpacked(g->spec, NULL);
    if (g->asked)
        pb_create_guest_request__free_unpacked(g->asked, NULL);
    free(g);
}

static struct mgr_guest *by_key(struct mgr *m, const char *tenant, const char *name)
{
    char key[sizeof((struct mgr_guest *)0)->key];
    struct mgr_guest *g;
    if (snprintf(key, sizeof key, "%s/%s", tenant, name) >= (int)sizeof key)
        return NULL;
    HASH_FIND_STR(m->guest_by_key, key, g);
    return g;
}

static res_code_t name_taken(const char *name, struct err *err)
{
    err_set(err, ERR_EXISTS, "guest \"%s\" exists already; remove it or take another name", name);
    return err_explain(err, "NAME_TAKEN", "guest", name, "remove it or take another name");
}

static void set_name(struct mgr_guest *g, const char *name)
{
    snprintf(g->key, sizeof g->key, "%s/%s", g->tenant->name, name);
    g->name = g->key + strlen(g->tenant->name) + 1;
    HASH_ADD_STR(g->m->guest_by_key, key, g);
}

void mgr_guest_set_name(struct mgr_guest *g, const char *name)
{
    HASH_DEL(g->m->guest_by_key, g);
    set_name(g, name);
}

static void make_up_name(struct mgr *m, const struct mgr_tenant *t, char *name, size_t cap)
{
    do {
        uint32_t random;
        os_random(&random, sizeof random);
        snprintf(name, cap, "g%06x", random & 0xffffff);
    } while (by_key(m, t->name, name));
}

res_t mgr_guest_admit(struct mgr *m, struct mgr_tenant *t, const PbCreateGuestRequest *spec,
                      struct err *err)
{
    PbGuestLimits limits;
    if (m->guest_count >= MGR_GUESTS_MAX)
        return err_set(err, ERR_LIMIT, "%d guests exist; remove some", MGR_GUESTS_MAX);
    if (mgr_journal_broken(m))
        return err_set(err, ERR_LIMIT,
                       "the daemon's state folder takes no records; is its disk full?");
    if (spec->name[0] && by_key(m, t->name, spec->name))
        return name_taken(spec->name, err);
    mgr_spec_limits(m->config, spec->limits, &limits);
    if (mgr_quota_take(t, MGR_QUOTA_GUESTS, 1, err))
        return FAIL;
    mgr_quota_give(t, MGR_QUOTA_GUESTS, 1);
    if (mgr_quota_take(t, MGR_QUOTA_CONSOLE, limits.console_bytes, err))
        return FAIL;
    mgr_quota_give(t, MGR_QUOTA_CONSOLE, limits.console_bytes);
    return OK;
}

static void init_lists(struct mgr_guest *g)
{
    list_init(&g->at_worker);
    list_init(&g->readers);
    list_init(&g->writers);
    list_init(&g->start_waiters);
    list_init(&g->end_waiters);
    list_init(&g->delete_waiters);
    list_init(&g->pause_waiters);
}

/* Into the books of the daemon. For creation and for what the journal brings back. */
struct mgr_guest *mgr_guest_enter(struct mgr *m, struct mgr_tenant *t, uint64_t id,
                                  const char *name, const PbCreateGuestRequest *asked,
                                  const PbCreateGuestRequest *spec, const char *digest,
                                  struct err *err)
{
    char path[PB_PATH_MAX];
    bool keyed = asked && asked->request_id[0];
    struct mgr_guest *g = calloc(1, sizeof *g);
    if (!g || !(g->spec = copy_spec(spec)) || (keyed && !(g->asked = copy_spec(asked)))) {
        free_specs(g);
        err_set(err, ERR_NO_MEMORY, "no memory for a guest");
        return NULL;
    }
    g->m = m;
    g->tenant = t;
    g->id = id;
    init_lists(g);
    mgr_spec_limits(m->config, spec->limits, &g->limits);
    snprintf(path, sizeof path, "%.4000s/console/%llu", m->opt->state, (unsigned long long)id);
    if (mgr_console_init(&g->console, g->limits.console_bytes, path, err)) {
        free_specs(g);
        return NULL;
    }
    snprintf(g->digest, sizeof g->digest, "%s", digest);
    g->held = mgr_image_hold(m, t, digest);
    g->state = S(CREATED);
    m->by_state[g->state]++;
    set_name(g, name);
    HASH_ADD(hh_id, m->guest_by_id, id, sizeof g->id, g);
    if (keyed) {
        struct mgr_guest *older;
        snprintf(g->request_key, sizeof g->request_key, "%s/%s", t->name, asked->request_id);
        HASH_FIND(hh_request, m->guest_by_request, g->request_key, strlen(g->request_key), older);
        if (older) { /* an hour has passed */
            HASH_DELETE(hh_request, m->guest_by_request, older);
            older->request_key[0] = 0;
        }
        HASH_ADD_KEYPTR(hh_request, m->guest_by_request, g->request_key, strlen(g->request_key), g);
    }
    list_append(&m->guests, &g->link);
    m->guest_count++;
    t->used[MGR_QUOTA_GUESTS]++;
    t->used[MGR_QUOTA_CONSOLE] += g->limits.console_bytes;
    return g;
}

res_t mgr_guest_new(struct mgr *m, struct mgr_tenant *t, const PbCreateGuestRequest *asked,
                    const PbCreateGuestRequest *spec, const char *digest, struct mgr_guest **out,
                    struct err *err)
{
    char name[PB_GUEST_NAME_MAX + 1];
    if (mgr_guest_admit(m, t, spec, err))
        return FAIL;
    if (spec->name[0])
        snprintf(name, sizeof name, "%s", spec->name);
    else
        make_up_name(m, t, name, sizeof name);
    struct mgr_guest *g = mgr_guest_enter(m, t, m->next_guest_id, name, asked, spec, digest, err);
    if (!g)
        return FAIL;
    m->next_guest_id++;
    g->create_time_ns = mgr_wall_ns();
    mgr_guest_record(g);
    mgr_event(m, PB_EVENT_TYPE_GUEST_CREATED, t, g->name, g->id, 0, spec->image);
    *out = g;
    return OK;
}

struct mgr_guest *mgr_guest_by_request(struct mgr *m, const struct mgr_tenant *t,
                                       const char *request_id)
{
    char key[sizeof((struct mgr_guest *)0)->request_key];
    struct mgr_guest *g;
    snprintf(key, sizeof key, "%s/%s", t->name, request_id);
    HASH_FIND(hh_request, m->guest_by_request, key, strlen(key), g);
    return g;
}

struct mgr_guest *mgr_guest_by_id(struct mgr *m, uint64_t id)
{
    struct mgr_guest *g;
    HASH_FIND(hh_id, m->guest_by_id, &id, sizeof id, g);
    return g;
}

res_t mgr_guest_find(struct mgr *m, struct mgr_tenant *t, const char *name, struct mgr_guest **out,
                     struct err *err)
{
    struct mgr_guest *g = NULL;
    if (!strchr(name, '/'))
        g = by_key(m, t->name, name);
    else if (t->config && t->config->admin)
        HASH_FIND_STR(m->guest_by_key, name, g);
    if (!g) {
        err_set(err, ERR_NOT_FOUND, "no guest \"%.127s\"", name);
        return err_explain(err, "GUEST_NOT_FOUND", "guest", name,
                           "\"vmctl ps -a\" shows what there is");
    }
    *out = g;
    return OK;
}

res_t mgr_guest_rename(struct mgr_guest *g, const char *name, struct err *err)
{
    char old[PB_GUEST_NAME_MAX + 1];
    if (!pb_guest_name_valid(name))
        return err_set(err, ERR_INVALID,
                       "new_name \"%.80s\": use 1-%d of a-z 0-9 . _ -, a letter or digit first",
                       name, PB_GUEST_NAME_MAX);
    if (by_key(g->m, g->tenant->name, name))
        return name_taken(name, err);
    snprintf(old, sizeof old, "%s", g->name);
    mgr_guest_set_name(g, name);
    mgr_guest_record(g);
    mgr_event(g->m, PB_EVENT_TYPE_GUEST_RENAMED, g->tenant, g->name, g->id, 0, old);
    return OK;
}

/* ---- the end ---- */

void mgr_guest_answer(struct list *waiters, const struct mgr_guest *g)
{
    struct pb_call *call;
    while ((call = mgr_waiter_take(waiters)))
        mgr_guest_reply(call, g);
}

void mgr_guest_answer_error(struct list *waiters, const struct err *err)
{
    struct pb_call *call;
    while ((call = mgr_waiter_take(waiters)))
        pb_call_finish(call, err);
}

void mgr_guest_wake_readers(struct mgr_guest *g)
{
    list_for_each_safe(l, &g->readers) pb_call_wake(list_entry(l, struct mgr_reader, link)->call);
}

static void clear_deadlines(struct mgr_guest *g)
{
    mgr_deadline_clear(&g->m->timers, &g->grace);
    mgr_deadline_clear(&g->m->timers, &g->wall);
    mgr_deadline_clear(&g->m->timers, &g->restart);
}

/* Out of the books; its console's file stays if the daemon only ends. */
void mgr_guest_leave(struct mgr_guest *g, bool remove_console)
{
    struct mgr *m = g->m;
    clear_deadlines(g);
    HASH_DEL(m->guest_by_key, g);
    HASH_DELETE(hh_id, m->guest_by_id, g);
    if (g->request_key[0])
        HASH_DELETE(hh_request, m->guest_by_request, g);
    list_remove(&g->link);
    list_remove(&g->at_worker);
    m->guest_count--;
    m->by_state[g->state]--;
    uncharge(g);
    if (!mgr_guest_over(g))
        mgr_quota_give(g->tenant, MGR_QUOTA_GUESTS, 1);
    mgr_quota_give(g->tenant, MGR_QUOTA_CONSOLE, g->limits.console_bytes);
    if (g->held)
        mgr_image_release(m, g->tenant, g->digest);
    mgr_console_fini(&g->console, remove_console);
    if (g->stats)
        pb_guest_stats__free_unpacked(g->stats, NULL);
    free_specs(g);
}

static void free_guest(struct mgr_guest *g)
{
    struct mgr *m = g->m;
    struct err err;
    err_set(&err, ERR_NOT_FOUND, "guest \"%s\" was removed", g->name);
    while (!list_empty(&g->readers)) {
        struct mgr_reader *r = list_entry(g->readers.next, struct mgr_reader, link);
        struct pb_call *call = r->call;
        list_remove(&r->link);
        list_remove(&r->writing);
        free(r);
        call->user = NULL;
        pb_call_finish(call, &err);
    }
    PbStateGone gone = PB_STATE_GONE__INIT;
    gone.guest = g->id;
    MGR_RECORD(GONE, gone, &gone);
    mgr_journal_put(m, &record);
    mgr_event(m, PB_EVENT_TYPE_GUEST_REMOVED, g->tenant, g->name, g->id, 0, NULL);
    mgr_guest_answer_error(&g->start_waiters, &err);
    mgr_guest_answer_error(&g->end_waiters, &err);
    mgr_guest_answer_error(&g->pause_waiters, &err);
    PbDeleteGuestResponse empty = PB_DELETE_GUEST_RESPONSE__INIT;
    struct pb_call *call;
    while ((call = mgr_waiter_take(&g->delete_waiters)))
        pb_call_reply(call, &empty.base);
    mgr_guest_leave(g, true);
}

static void on_restart(struct mgr_deadline *d)
{
    struct mgr_guest *g = container_of(d, struct mgr_guest, restart);
    struct err err;
    if (mgr_guest_start(g, &err)) { /* a quota, say: try again later */
        log_warn_f(MGR_ABOUT(g), "guest cannot be started again: %s", err.text);
        if (mgr_deadline_set(&g->m->timers, d, RESTART_MS_MOST, on_restart, &err))
            log_error_f(MGR_ABOUT(g), "%s", err.text);
    }
}

void mgr_guest_restart_again(struct mgr_guest *g)
{
    struct err err;
    if (mgr_deadline_set(&g->m->timers, &g->restart, RESTART_MS_FIRST, on_restart, &err))
        log_error_f(MGR_ABOUT(g), "%s", err.text);
}

/* Does its policy start it again? Who was ended from outside stays ended. */
static bool restarts(const struct mgr_guest *g)
{
    const PbRestart *r = g->spec->restart;
    if (!r || g->m->stopping || g->stopping_by[0] || !list_empty(&g->delete_waiters) ||
        g->refused || g->end_kind == PB_END_KIND_KILLED)
        return false;
    if (r->policy == PB_RESTART_POLICY_ALWAYS)
        return true;
    if (r->policy != PB_RESTART_POLICY_ON_FAILURE ||
        (g->end_kind == PB_END_KIND_EXIT && g->end_code == 0))
        return false;
    return !r->max_retries || g->row < r->max_retries;
}

static bool restart_later(struct mgr_guest *g)
{
    char text[80];
    struct err err;
    if (g->start_mono_ns && os_now_ns() - g->start_mono_ns >= MGR_RESTART_CALM_NS)
        g->row = 0;
    if (!restarts(g))
        return false;
    uint64_t delay = MIN((uint64_t)RESTART_MS_FIRST << MIN(g->row, 16u), (uint64_t)RESTART_MS_MOST);
    if (mgr_deadline_set(&g->m->timers, &g->restart, delay, on_restart, &err)) {
        log_error_f(MGR_ABOUT(g), "%s", err.text);
        return false;
    }
    g->row++;
    if (mgr_guest_advance(g, MGR_EV_RESTART, &err))
        return false;
    snprintf(text, sizeof text, "in %llu ms, restart %u", (unsigned long long)delay,
             g->restarts + 1);
    mgr_event(g->m, PB_EVENT_TYPE_GUEST_RESTARTING, g->tenant, g->name, g->id, 0, text);
    return true;
}

/* The guest is over: tell everybody who waits. May free g. */
void mgr_guest_is_over(struct mgr_guest *g, PbEndKind kind, int code, const char *text)
{
    struct mgr *m = g->m;
    if (g->limit_text[0] && kind == PB_END_KIND_KILLED) { /* killed by us, for that */
        kind = PB_END_KIND_LIMIT;
        text = g->limit_text;
    }
    g->end_kind = kind;
    g->end_code = code;
    snprintf(g->end_text, sizeof g->end_text, "%s", text);
    snprintf(g->end_by, sizeof g->end_by, "%s",
             kind == PB_END_KIND_KILLED || kind == PB_END_KIND_SIGNAL ? g->stopping_by : "");
    g->end_time_ns = mgr_wall_ns();
    clear_deadlines(g);
    mgr_worker_release(g);
    mgr_guest_record(g); /* how it ended, and that it has no worker */
    mgr_event(m, PB_EVENT_TYPE_GUEST_ENDED, g->tenant, g->name, g->id, code, g->end_text);
    g->announcing = true; /* nobody below may free it */
    bool again = restart_later(g);
    if (g->state == S(FAILED) && g->refused) {
        struct err err;
        err_set(&err, g->refused, "%s", g->end_text);
        mgr_guest_answer_error(&g->start_waiters, &err);
        mgr_guest_answer_error(&g->pause_waiters, &err);
    } else {
        mgr_guest_answer(&g->start_waiters, g);
        mgr_guest_answer(&g->pause_waiters, g);
    }
    if (!again)
        mgr_guest_answer(&g->end_waiters, g);
    mgr_guest_resume_writers(g); /* what they still send is dropped */
    mgr_guest_wake_readers(g);
    g->announcing = false;
    if (!list_empty(&g->delete_waiters) ||
        (!again && g->spec->auto_remove && list_empty(&g->readers)))
        free_guest(g);
    mgr_stop_step(m);
}

void mgr_guest_lost(struct mgr_guest *g, const char *why)
{
    if (g->state == S(STARTING))
        g->refused = ERR_UNAVAILABLE;
    if (mgr_guest_advance(g, MGR_EV_LOST, NULL))
        mgr_worker_release(g);
    else
        mgr_guest_is_over(g, PB_END_KIND_LOST, 0, why);
}

void mgr_guest_refused(struct mgr_guest *g, const struct err *why)
{
    if (mgr_guest_advance(g, MGR_EV_REFUSED, NULL)) {
        mgr_worker_release(g);
        return;
    }
    g->refused = why->code;
    mgr_guest_is_over(g, PB_END_KIND_ERROR, 0, why->text);
}

res_t mgr_guest_delete(struct mgr_guest *g, struct err *err)
{
    if (mgr_guest_advance(g, MGR_EV_DELETE, err))
        return FAIL;
    free_guest(g);
    return OK;
}
