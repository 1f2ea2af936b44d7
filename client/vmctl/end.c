/* How a guest ended: for people, and as an exit code. */
#include "client/vmctl/ctl.h"

#include <signal.h>
#include <string.h>

static void state_text(const PbGuest *g, char *out, size_t cap)
{
    static const char *const states[] = {"?",     "created", "starting", "running",   "stopping",
                                         "ended", "failed",  "paused",   "restarting"};
    snprintf(out, cap, "%s", (unsigned)g->state < ARRAY_LEN(states) ? states[g->state] : "?");
}

/* The guest's kernel begins its text with the signal's name, which stands in front already. */
static const char *behind_name(const char *text, const char *name)
{
    size_t n = strlen(name);
    return strncmp(text, name, n) ? text : text + n;
}

void ctl_end_text(const PbGuest *g, char *out, size_t cap)
{
    char name[32];
    if (!g->end || g->state == PB_GUEST_STATE_RUNNING || g->state == PB_GUEST_STATE_STARTING ||
        g->state == PB_GUEST_STATE_PAUSED || g->state == PB_GUEST_STATE_STOPPING) {
        state_text(g, out, cap); /* an end that is there is of the run before */
        return;
    }
    const char *again = g->state == PB_GUEST_STATE_RESTARTING ? "restarting after " : "";
    const char *text = g->end->text, *by = g->end->by;
    const char *colon = text[0] ? ": " : "";
    switch (g->end->kind) {
    case PB_END_KIND_EXIT:
        snprintf(out, cap, "%sexit %d", again, g->end->code);
        break;
    case PB_END_KIND_SIGNAL:
        snprintf(name, sizeof name, "SIG%s", ctl_signal_name(g->end->code));
        text = behind_name(text, name);
        colon = !text[0] || text != g->end->text ? "" : ": ";
        snprintf(out, cap, "%ssignal %d (%s)%s%s", again, g->end->code, name, colon, text);
        break;
    case PB_END_KIND_LIMIT:
        snprintf(out, cap, "%slimit%s%s", again, colon, text);
        break;
    case PB_END_KIND_KILLED:
        if (text[0])
            snprintf(out, cap, "killed: %s", text);
        else
            snprintf(out, cap, "killed%s%s", by[0] ? " by " : "", by);
        break;
    default:
        snprintf(out, cap, "%sfailed%s%s", again, colon, text);
    }
}

int ctl_end_code(const PbGuest *g, bool say)
{
    char text[500];
    if (!g->end || g->end->kind == PB_END_KIND_EXIT)
        return g->end ? g->end->code & 255 : CTL_EXIT_ERROR;
    bool by_signal = g->end->kind == PB_END_KIND_SIGNAL;
    if (say && (!by_signal || g->end->text[0]) && g->end->kind != PB_END_KIND_KILLED) {
        ctl_end_text(g, text, sizeof text);
        ctl_say("guest \"%s\": %s", g->name, text);
    }
    if (by_signal)
        return 128 + g->end->code;
    return g->end->kind == PB_END_KIND_KILLED ? 128 + SIGKILL : CTL_EXIT_ERROR;
}
