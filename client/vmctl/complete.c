/*
 * Completion. The shells' scripts are short: they give the words of the line to "vmctl __complete WORD... LAST", which prints what
 * may stand in LAST's place, one to a line, a tab and a description behind it; ":files" and ":dirs" ask the shell for file names.
 * Names of guests and images come from the daemon, within BUDGET_MS; without one, or later, there are none, and nothing is said.
 */
#include "client/vmctl/config.h"
#include "client/vmctl/ctl.h"
#include "proto/event.pb-c.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define BUDGET_MS 250

static const char *typed; /* the beginning of the word, or of the value in --option=value */
static int front;         /* bytes of "--option=" before it */

static void offer(const char *word, const char *about)
{
    if (!strncmp(word, typed, strlen(typed)))
        printf("%.*s%s\t%s\n", front, typed - front, word, about);
}

/* ---- names from the daemon ---- */

static void on_alarm(int signo)
{
    (void)signo;
    _exit(0); /* what was found before is printed */
}

static void offer_guests(void *ctx, const ProtobufCMessage *m)
{
    const PbListGuestsResponse *resp = (const PbListGuestsResponse *)m;
    char end[400], safe[64];
    (void)ctx;
    for (size_t i = 0; i < resp->n_guests; i++) {
        ctl_end_text(resp->guests[i], end, sizeof end);
        snprintf(safe, sizeof safe, "%.60s", end);
        for (char *s = safe; *s; s++)
            if ((unsigned char)*s < 0x20)
                *s = '?';
        offer(resp->guests[i]->name, safe);
    }
}

static void offer_images(void *ctx, const ProtobufCMessage *m)
{
    const PbListImagesResponse *resp = (const PbListImagesResponse *)m;
    (void)ctx;
    for (size_t i = 0; i < resp->n_images; i++)
        offer(resp->images[i]->name[0] ? resp->images[i]->name : resp->images[i]->digest, "image");
}

static void ask_daemon(const struct ctl_args *a, bool images)
{
    PbListGuestsRequest guests = PB_LIST_GUESTS_REQUEST__INIT;
    PbListImagesRequest list = PB_LIST_IMAGES_REQUEST__INIT;
    struct itimerval budget = {.it_value.tv_usec = BUDGET_MS * 1000};
    struct ctl_endpoint e;
    struct ctl_conn c = {.t.fd = -1};
    struct err err;
    fflush(stdout);
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &budget, NULL);
    if (!ctl_endpoint_find(&e, a, &err) && !ctl_connect_only(&c, &e, &err) &&
        (images ? ctl_call(&c, PB_METHOD_list_images, &list.base, 0, offer_images, NULL, &err)
                : ctl_call(&c, PB_METHOD_list_guests, &guests.base, 0, offer_guests, NULL, &err)))
        err.text[0] = 0; /* nobody asked */
    ctl_close(&c);
}

/* ---- what a name in the tables stands for ---- */

static void offer_commands(void)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *w = ctl_commands[i].words, *space = strchr(w, ' ');
        char first[40];
        if (ctl_commands[i].flags & CTL_HIDDEN)
            continue;
        if (!space) {
            offer(w, ctl_commands[i].summary);
            continue;
        }
        size_t n = (size_t)(space - w);
        bool seen = i && !strncmp(ctl_commands[i - 1].words, w, n + 1);
        snprintf(first, sizeof first, "%.*s", (int)n, w);
        if (!seen)
            offer(first, "...");
    }
}

static void offer_second(const char *family)
{
    size_t n = strlen(family);
    for (size_t i = 0; i < ctl_command_count; i++)
        if (!strncmp(ctl_commands[i].words, family, n) && ctl_commands[i].words[n] == ' ')
            offer(ctl_commands[i].words + n + 1, ctl_commands[i].summary);
}

static void offer_contexts(void)
{
    struct ctl_config c;
    struct err err;
    if (!ctl_config_load(&c, &err))
        for (struct ctl_context *x = c.contexts; x; x = x->next)
            offer(x->name, x->host);
    offer("default", "this user's own daemon");
    ctl_config_fini(&c);
}

static void offer_signals(void)
{
    for (int i = 1; i < 32; i++)
        if (sigabbrev_np(i))
            offer(sigabbrev_np(i), strsignal(i));
}

static void offer_events(void)
{
    for (unsigned i = 0; i < pb_event_type__descriptor.n_values; i++) {
        const char *s = pb_event_type__descriptor.values[i].name + strlen("EVENT_TYPE_");
        char word[40];
        size_t k = 0;
        if (pb_event_type__descriptor.values[i].value == 0)
            continue;
        for (; s[k] && k < sizeof word - 1; k++)
            word[k] = s[k] == '_' ? '-' : (char)tolower((unsigned char)s[k]);
        word[k] = 0;
        offer(word, "event");
    }
}

static void offer_methods(void)
{
    char path[128];
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++) {
        snprintf(path, sizeof path, "%s", pb_methods[i].path + 1);
        offer(path, "method");
    }
}

/* A name in capitals stands for what it names, if that is known; another word for itself. */
static void offer_one(const struct ctl_args *a, const char *name)
{
    if (!strcmp(name, "GUEST"))
        ask_daemon(a, false);
    else if (!strcmp(name, "IMAGE"))
        ask_daemon(a, true);
    else if (!strcmp(name, "CONTEXT"))
        offer_contexts();
    else if (!strcmp(name, "SIGNAL"))
        offer_signals();
    else if (!strcmp(name, "EVENT"))
        offer_events();
    else if (!strcmp(name, "METHOD"))
        offer_methods();
    else if (!strcmp(name, "COMMAND"))
        offer_commands();
    else if (!strcmp(name, "DIR"))
        puts(":dirs");
    else if (!strcmp(name, "FILE") || !strcmp(name, "PATH"))
        puts(":files");
    else if (islower((unsigned char)name[0]))
        offer(name, "");
}

/* What an option or argument is called in the tables: "GUEST...", "[IMAGE]", "table|wide|json", "on-failure[:N]|always", "SPEC.yaml". */
static void offer_kind(const struct ctl_args *a, const char *called)
{
    called += called[0] == '[';
    while (*called) {
        char name[80];
        size_t n = strcspn(called, "|");
        snprintf(name, sizeof name, "%.*s", (int)MIN(strcspn(called, "|[]:"), sizeof name - 1),
                 called);
        char *more = strstr(name, "...");
        if (more)
            *more = 0;
        if (strchr(name, '.'))
            puts(":files");
        else
            offer_one(a, name);
        called += n + (called[n] == '|');
    }
}

/* The at-th (from 0) of a command's arguments; the last one with "..." stands for all behind it. */
static void offer_argument(const struct ctl_args *a, const struct ctl_command *c, int at)
{
    char list[200], *rest = list, *name, *last = NULL;
    snprintf(list, sizeof list, "%s", c->arguments);
    for (int i = 0; (name = strsep(&rest, " "));) {
        if (!strcmp(name, "[--]"))
            continue;
        last = name;
        if (i++ == at) {
            offer_kind(a, name);
            return;
        }
    }
    if (last && strstr(last, "..."))
        offer_kind(a, last);
}

static void offer_options(const struct ctl_command *c)
{
    char text[80];
    for (size_t i = 0; i < c->option_count; i++) {
        const struct ctl_option *o = &ctl_options[c->options[i]];
        snprintf(text, sizeof text, "--%s", o->name);
        offer(text, o->help);
        if (o->letter) {
            snprintf(text, sizeof text, "-%c", o->letter);
            if (typed[1] != '-')
                offer(text, o->help);
        }
    }
}

/* The option that a word gives, if it waits for a value in the next word; else NULL. */
static const struct ctl_option *waits(const struct ctl_command *c, const char *word,
                                      enum ctl_opt *opt)
{
    if (word[0] != '-' || !word[1] || strchr(word, '='))
        return NULL;
    for (size_t i = 0; i < c->option_count; i++) {
        const struct ctl_option *o = &ctl_options[c->options[i]];
        bool is = word[1] == '-' ? !strcmp(word + 2, o->name)
                                 : o->letter && word[strlen(word) - 1] == o->letter;
        if (is && o->arg) {
            *opt = c->options[i];
            return o;
        }
    }
    return NULL;
}

/* Where the daemon is may have been said on the line. */
static void keep(struct ctl_args *asked, enum ctl_opt opt, const char *value)
{
    static struct ctl_given given[16];
    if (!asked->given)
        asked->given = given;
    if (asked->given_count < ARRAY_LEN(given))
        asked->given[asked->given_count++] = (struct ctl_given){opt, value};
}

int ctl_cmd_complete(struct ctl_args *a)
{
    struct ctl_args asked = {0};
    const struct ctl_command *c = &ctl_everybody;
    const struct ctl_option *waiting = NULL;
    char *family = NULL;
    int at = -1, used = 0; /* at: which argument the last word is; -1: no command yet */
    bool over = false;
    typed = a->pos_count ? a->pos[a->pos_count - 1] : "";
    for (int i = 0; i + 1 < a->pos_count; i++) {
        char *word = a->pos[i];
        enum ctl_opt opt = OPT_HELP;
        if (waiting) {
            waiting = NULL;
        } else if (!over && !strcmp(word, "--")) {
            over = true;
        } else if (!over && word[0] == '-' && word[1]) {
            waiting = waits(c, word, &opt);
            if (waiting && i + 2 < a->pos_count)
                keep(&asked, opt, a->pos[i + 1]);
        } else if (at < 0) {
            const struct ctl_command *found =
                ctl_find_command(a->pos + i, a->pos_count - 1 - i, &used);
            family = found ? NULL : word;
            c = found ? found : c;
            at = found ? 0 : -1;
            i += found ? used - 1 : 0;
        } else {
            at++;
            over = over || c->flags & CTL_STOP_AT_ARG;
        }
    }
    if (!waiting && !over && !strncmp(typed, "--", 2) && strchr(typed, '=')) {
        char name[64];
        enum ctl_opt opt;
        snprintf(name, sizeof name, "%.*s", (int)MIN(strcspn(typed, "="), sizeof name - 1), typed);
        waiting = waits(c, name, &opt);
        front = (int)strcspn(typed, "=") + 1;
        typed += front;
    }
    if (waiting)
        offer_kind(&asked, waiting->arg);
    else if (!over && typed[0] == '-')
        offer_options(c);
    else if (at < 0 && family)
        offer_second(family);
    else if (at < 0)
        offer_commands();
    else
        offer_argument(&asked, c, at);
    return 0;
}

/* ---- the scripts ---- */

static const char bash_script[] =
    "# vmctl: completion for bash. source <(vmctl completion bash)\n"
    "_vmctl() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} cur front item IFS=$' \\t\\n'\n"
    "    local -a words out=()\n"
    "    read -ra words <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=('')\n"
    "    cur=${words[${#words[@]} - 1]}\n"
    "    front=${cur%\"${cur##*[:=]}\"} # bash takes these for ends of words\n"
    "    IFS=$'\\n'\n"
    "    while read -r item; do\n"
    "        case $item in\n"
    "        :files) compopt -o filenames; out+=($(compgen -f -- \"${cur#\"$front\"}\")) ;;\n"
    "        :dirs) compopt -o filenames; out+=($(compgen -d -- \"${cur#\"$front\"}\")) ;;\n"
    "        ?*) item=${item%%$'\\t'*}; out+=(\"${item#\"$front\"}\") ;;\n"
    "        esac\n"
    "    done < <(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
    "    COMPREPLY=(\"${out[@]}\")\n"
    "}\n"
    "complete -F _vmctl vmctl\n";

static const char zsh_script[] =
    "#compdef vmctl\n"
    "# vmctl: completion for zsh. source <(vmctl completion zsh), or save it as _vmctl in a folder "
    "of $fpath.\n"
    "_vmctl() {\n"
    "    local line word about\n"
    "    local -a found\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) _files ;;\n"
    "        :dirs) _files -/ ;;\n"
    "        ?*)\n"
    "            word=${line%%$'\\t'*} about=${line#*$'\\t'}\n"
    "            found+=(\"${word//:/\\\\:}${about:+:$about}\")\n"
    "            ;;\n"
    "        esac\n"
    "    done < <(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
    "    (( $#found )) && _describe vmctl found\n"
    "}\n"
    "if [[ $funcstack[1] = _vmctl ]]; then _vmctl; else compdef _vmctl vmctl; fi\n";

static const char fish_script[] =
    "# vmctl: completion for fish. vmctl completion fish >~/.config/fish/completions/vmctl.fish "
    "(fish brings one\n"
    "# for OpenBSD's vmctl, which this stands before)\n"
    "function __vmctl_complete\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)\n"
    "        switch $line\n"
    "            case ':files'\n"
    "                __fish_complete_path (commandline -ct)\n"
    "            case ':dirs'\n"
    "                __fish_complete_directories (commandline -ct)\n"
    "            case '*'\n"
    "                echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c vmctl -f -a '(__vmctl_complete)'\n";

int ctl_cmd_completion(struct ctl_args *a)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
        if (!strcmp(a->pos[0], scripts[i].shell)) {
            fputs(scripts[i].script, stdout);
            return 0;
        }
    ctl_say("completion %.40s: bash, zsh or fish was expected", a->pos[0]);
    return CTL_EXIT_USAGE;
}
