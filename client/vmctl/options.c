#include "client/vmctl/ctl.h"
#include "engine/base/suggest.h"

#include <stdlib.h>
#include <string.h>

/* ---- the tables ---- */

const struct ctl_option ctl_options[OPT_COUNT] = {
#define OPTION(id, name, letter, arg, help) [OPT_##id] = {name, letter, arg, help},
#include "client/vmctl/options.def"
#undef OPTION
};

#define STOP_AT_ARG CTL_STOP_AT_ARG
#define HIDDEN CTL_HIDDEN
#define RAW CTL_RAW
#define EVERYBODY                                                                               \
    OPT_HOST, OPT_CONTEXT, OPT_SOCKET, OPT_TLS_CA, OPT_TLS_CERT, OPT_TLS_KEY, OPT_NO_AUTOSTART, \
        OPT_HELP

static const enum ctl_opt options_of_everybody[] = {EVERYBODY};
const struct ctl_command ctl_everybody = {.words = "",
                                          .arguments = "COMMAND [ARGUMENT...]",
                                          .options = options_of_everybody,
                                          .option_count = ARRAY_LEN(options_of_everybody)};

/* The command's own options, everybody's behind them. */
#define COMMAND(ident, words, arguments, least, most, flags, summary, ...) \
    static const enum ctl_opt options_of_##ident[] = {__VA_ARGS__ __VA_OPT__(, ) EVERYBODY};
#include "client/vmctl/commands.def"
#undef COMMAND

const struct ctl_command ctl_commands[] = {
#define COMMAND(ident, words, arguments, least, most, flags, summary, ...) \
    {words,                                                                \
     arguments,                                                            \
     least,                                                                \
     most,                                                                 \
     flags,                                                                \
     summary,                                                              \
     ctl_cmd_##ident,                                                      \
     options_of_##ident,                                                   \
     ARRAY_LEN(options_of_##ident)},
#include "client/vmctl/commands.def"
#undef COMMAND
};
const size_t ctl_command_count = ARRAY_LEN(ctl_commands);

/* A group's number is that of the command behind it: its second constant steps back. */
enum {
#define GROUP(ident, title) AT_GROUP_##ident, BEFORE_GROUP_##ident = AT_GROUP_##ident - 1,
#define COMMAND(ident, ...) AT_##ident,
#include "client/vmctl/commands.def"
#undef COMMAND
};
const struct ctl_group ctl_groups[] = {
#define GROUP(ident, title) {title, AT_GROUP_##ident},
#define COMMAND(...)
#include "client/vmctl/commands.def"
#undef COMMAND
};
const size_t ctl_group_count = ARRAY_LEN(ctl_groups);

const struct ctl_example ctl_examples[] = {
#define EXAMPLE(ident, line, text) {AT_##ident, line, text},
#define COMMAND(...)
#include "client/vmctl/commands.def"
#undef COMMAND
};
const size_t ctl_example_count = ARRAY_LEN(ctl_examples);

const char *ctl_more(const struct ctl_command *c)
{
    static const char *const more[ARRAY_LEN(ctl_commands)] = {
#define MORE(ident, text) [AT_##ident] = text,
#define COMMAND(...)
#include "client/vmctl/commands.def"
#undef COMMAND
    };
    return more[c - ctl_commands];
}

/* ---- parsing ---- */

const struct ctl_command *ctl_find_command(char **words, int count, int *used)
{
    for (size_t i = 0; i < ctl_command_count && count > 0; i++) {
        const char *w = ctl_commands[i].words, *space = strchr(w, ' ');
        size_t n = space ? (size_t)(space - w) : strlen(w);
        if (strncmp(words[0], w, n) || words[0][n])
            continue;
        if (space && (count < 2 || strcmp(words[1], space + 1) != 0))
            continue;
        *used = space ? 2 : 1;
        return &ctl_commands[i];
    }
    return NULL;
}

/* Second words of a family ("image": import, ls), or, with family NULL, all first words. */
static size_t gather_words(const char *family, const char *out[], char (*room)[32])
{
    size_t n = 0;
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *w = ctl_commands[i].words, *space = strchr(w, ' ');
        if (ctl_commands[i].flags & CTL_HIDDEN)
            continue;
        if (family &&
            (!space || strncmp(w, family, (size_t)(space - w)) != 0 || family[space - w] != 0))
            continue;
        if (family)
            out[n] = space + 1;
        else
            snprintf(room[n], sizeof *room, "%.*s", (int)(space ? space - w : 31), w),
                out[n] = room[n];
        n++;
    }
    return n;
}

static int unknown_command(char **words, int count)
{
    const char *list[ARRAY_LEN(ctl_commands)];
    char room[ARRAY_LEN(ctl_commands)][32], all[256] = "";
    size_t n = gather_words(words[0], list, room);
    if (n == 0) {
        n = gather_words(NULL, list, room);
        const char *meant = suggest(words[0], list, n);
        ctl_say(meant ? "unknown command \"%.100s\"; did you mean \"%s\"? See \"vmctl --help\""
                      : "unknown command \"%.100s\"; see \"vmctl --help\"",
                words[0], meant);
        return CTL_EXIT_USAGE;
    }
    for (size_t i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", list[i]);
    if (count > 1 && (!strcmp(words[1], "--help") || !strcmp(words[1], "-h"))) {
        printf("vmctl %s: %s. \"vmctl %s %s --help\" says more.\n", words[0], all, words[0],
               list[0]);
        return 0;
    }
    const char *meant = count > 1 ? suggest(words[1], list, n) : NULL;
    if (meant)
        ctl_say("unknown command \"%s %.100s\"; did you mean \"%s\"?", words[0], words[1], meant);
    else if (count > 1)
        ctl_say("unknown command \"%s %.100s\"; there is: %s", words[0], words[1], all);
    else
        ctl_say("%s what? There is: %s", words[0], all);
    return CTL_EXIT_USAGE;
}

static int bad(const struct ctl_command *c, const char *fmt, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, fmt, what);
    ctl_say("%s; see \"vmctl %s%s--help\"", text, c->words, c->words[0] ? " " : "");
    return CTL_EXIT_USAGE;
}

static int unknown_option(const struct ctl_command *c, const char *word)
{
    const char *names[OPT_COUNT];
    char name[64], text[200];
    for (size_t i = 0; i < c->option_count; i++)
        names[i] = ctl_options[c->options[i]].name;
    snprintf(name, sizeof name, "%.*s", (int)MIN(strcspn(word, "="), (size_t)60), word);
    const char *meant = word[1] == '-' ? suggest(name + 2, names, c->option_count) : NULL;
    snprintf(text, sizeof text,
             meant ? "unknown option %%.100s (did you mean --%s?)" : "unknown option %%.100s",
             meant);
    return bad(c, text, word);
}

static enum ctl_opt find_long(const struct ctl_command *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (strlen(ctl_options[c->options[i]].name) == n &&
            !strncmp(ctl_options[c->options[i]].name, name, n))
            return c->options[i];
    return OPT_COUNT;
}

static enum ctl_opt find_letter(const struct ctl_command *c, char letter)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (ctl_options[c->options[i]].letter == letter)
            return c->options[i];
    return OPT_COUNT;
}

static void give(struct ctl_args *a, enum ctl_opt opt, const char *value)
{
    a->given[a->given_count++] = (struct ctl_given){opt, value};
}

/* One word that begins with '-'; *next is the word behind it, taken if the option wants a value. 0 or an exit code. */
static int parse_word(struct ctl_args *a, const struct ctl_command *c, const char *word,
                      const char *next, int *took_next)
{
    if (word[1] == '-') {
        const char *eq = strchr(word, '=');
        enum ctl_opt o = find_long(c, word + 2, eq ? (size_t)(eq - word) - 2 : strlen(word + 2));
        if (o == OPT_COUNT)
            return unknown_option(c, word);
        if (!ctl_options[o].arg && eq)
            return bad(c, "option --%s takes no value", ctl_options[o].name);
        if (ctl_options[o].arg && !eq && !next)
            return bad(c, "option --%s needs a value", ctl_options[o].name);
        *took_next = ctl_options[o].arg && !eq;
        give(a, o, !ctl_options[o].arg ? NULL : eq ? eq + 1 : next);
        return 0;
    }
    for (const char *p = word + 1; *p; p++) {
        enum ctl_opt o = find_letter(c, *p);
        if (o == OPT_COUNT)
            return unknown_option(c, word);
        if (!ctl_options[o].arg) {
            give(a, o, NULL);
            continue;
        }
        if (!p[1] && !next)
            return bad(c, "option --%s needs a value", ctl_options[o].name);
        *took_next = !p[1];
        give(a, o, p[1] ? p + 1 : next);
        return 0;
    }
    return 0;
}

/* Everybody's options may stand before the command. 0: argv[*at] is the command's word. */
static int parse_front(int argc, char **argv, struct ctl_args *a, int *at, int *exit_code)
{
    for (; *at < argc && argv[*at][0] == '-'; (*at)++) {
        int took = 0;
        if (!strcmp(argv[*at], "--version"))
            return puts("vmctl " VV_VERSION), -1;
        if ((*exit_code = parse_word(a, &ctl_everybody, argv[*at], argv[*at + 1], &took)))
            return -1;
        *at += took;
    }
    if (ctl_has(a, OPT_HELP)) {
        ctl_help_all(stdout);
        return -1;
    }
    if (*at >= argc) {
        ctl_help_all(stderr);
        *exit_code = CTL_EXIT_USAGE;
        return -1;
    }
    return 0;
}

static int parse_rest(int argc, char **argv, struct ctl_args *a, int at)
{
    const struct ctl_command *c = a->command;
    bool options_over = c->flags & CTL_RAW;
    for (int i = at, code; i < argc; i++) {
        int took_next = 0;
        if (!options_over && !strcmp(argv[i], "--")) {
            options_over = true;
        } else if (!options_over && argv[i][0] == '-' && argv[i][1]) {
            if ((code = parse_word(a, c, argv[i], argv[i + 1], &took_next)))
                return code;
            i += took_next;
        } else {
            a->pos[a->pos_count++] = argv[i];
            options_over = options_over || c->flags & CTL_STOP_AT_ARG;
        }
    }
    return 0;
}

int ctl_parse(int argc, char **argv, struct ctl_args *a, int *exit_code)
{
    int at = 1, words = 0;
    size_t letters = 1;
    *exit_code = 0;
    for (int i = 1; i < argc; i++)
        letters += strlen(argv[i]) + 1; /* no word gives more options than it has letters */
    *a = (struct ctl_args){.pos = calloc((size_t)argc + 1, sizeof *a->pos)};
    a->given = calloc(letters, sizeof *a->given);
    ASSERT(a->pos && a->given);
    if (parse_front(argc, argv, a, &at, exit_code))
        return -1;
    const struct ctl_command *c = ctl_find_command(argv + at, argc - at, &words);
    if (!c) {
        *exit_code = unknown_command(argv + at, argc - at);
        return -1;
    }
    a->command = c;
    if ((*exit_code = parse_rest(argc, argv, a, at + words)))
        return -1;
    if (ctl_has(a, OPT_HELP)) {
        ctl_help_one(stdout, c);
        return -1;
    }
    if (a->pos_count < c->least || (c->most >= 0 && a->pos_count > c->most)) {
        *exit_code =
            bad(c, a->pos_count < c->least ? "%s is missing" : "too many arguments; expected %s",
                c->arguments[0] ? c->arguments : "none");
        return -1;
    }
    return 0;
}

bool ctl_has(const struct ctl_args *a, enum ctl_opt opt)
{
    for (size_t i = 0; i < a->given_count; i++)
        if (a->given[i].opt == opt)
            return true;
    return false;
}

const char *ctl_value(const struct ctl_args *a, enum ctl_opt opt)
{
    for (size_t i = a->given_count; i-- > 0;)
        if (a->given[i].opt == opt)
            return a->given[i].value;
    return NULL;
}
