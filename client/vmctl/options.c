#include "client/vmctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    char letter;
    const char *arg, *help;
} options[OPT_COUNT] = {
#define OPTION(id, name, letter, arg, help) [OPT_##id] = {name, letter, arg, help},
#include "client/vmctl/options.def"
#undef OPTION
};

#define STOP_AT_ARG true
#define COMMAND(ident, words, arguments, least, most, flags, summary, ...) \
    static const enum ctl_opt options_of_##ident[] = {OPT_HELP, OPT_SOCKET, ##__VA_ARGS__};
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

void ctl_say(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "vmctl: %s\n", text);
}

int ctl_fail(const struct err *err)
{
    ctl_say("%s", err->text);
    return CTL_EXIT_ERROR;
}

int ctl_usage(const struct err *err)
{
    ctl_say("%s", err->text);
    return CTL_EXIT_USAGE;
}

/* ---- help ---- */

static void help_all(FILE *f)
{
    fputs("Usage: vmctl COMMAND [OPTION...] [ARGUMENT...]\n\nRuns RISC-V programs in guests of the "
          "daemon vmd.\n\n",
          f);
    for (size_t i = 0; i < ctl_command_count; i++)
        fprintf(f, "  %-13s %s\n", ctl_commands[i].words, ctl_commands[i].summary);
    fputs("\n\"vmctl COMMAND --help\" says more. Exit codes: the guest's own; 128+signal; 124 "
          "--timeout passed;\n"
          "125 an error of vmctl or a limit; 2 usage.\n",
          f);
}

static void help_one(const struct ctl_command *c)
{
    printf("Usage: vmctl %s [OPTION...] %s\n\n%s.\n\n", c->words, c->arguments, c->summary);
    for (size_t i = 0; i < c->option_count; i++) {
        enum ctl_opt o = c->options[(i + 2) % c->option_count]; /* everybody's two last */
        char left[40], letter[8] = "    ";
        if (options[o].letter)
            snprintf(letter, sizeof letter, "-%c, ", options[o].letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, options[o].name,
                 options[o].arg ? " " : "", options[o].arg ? options[o].arg : "");
        printf("  %-28s %s\n", left, options[o].help);
    }
}

/* ---- parsing ---- */

/* The command that argv[1..] begins with; *words is how many of them it takes. */
static const struct ctl_command *find_command(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *w = ctl_commands[i].words, *space = strchr(w, ' ');
        if (space) {
            size_t n = (size_t)(space - w);
            if (argc > 2 && strlen(argv[1]) == n && !strncmp(argv[1], w, n) &&
                !strcmp(argv[2], space + 1)) {
                *words = 2;
                return &ctl_commands[i];
            }
        } else if (!strcmp(argv[1], w)) {
            *words = 1;
            return &ctl_commands[i];
        }
    }
    return NULL;
}

static int bad(const struct ctl_command *c, const char *fmt, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, fmt, what);
    ctl_say("%s; see \"vmctl %s%s--help\"", text, c ? c->words : "", c ? " " : "");
    return CTL_EXIT_USAGE;
}

static enum ctl_opt find_long(const struct ctl_command *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (strlen(options[c->options[i]].name) == n &&
            !strncmp(options[c->options[i]].name, name, n))
            return c->options[i];
    return OPT_COUNT;
}

static enum ctl_opt find_letter(const struct ctl_command *c, char letter)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (options[c->options[i]].letter == letter)
            return c->options[i];
    return OPT_COUNT;
}

static void give(struct ctl_args *a, enum ctl_opt opt, const char *value)
{
    a->given[a->given_count++] = (struct ctl_given){opt, value};
}

/* One word that begins with '-'; *next is the word behind it, taken if the option wants a value. 0 or an exit code. */
static int parse_word(struct ctl_args *a, const char *word, const char *next, bool *took_next)
{
    const struct ctl_command *c = a->command;
    if (word[1] == '-') {
        const char *eq = strchr(word, '=');
        enum ctl_opt o = find_long(c, word + 2, eq ? (size_t)(eq - word) - 2 : strlen(word + 2));
        if (o == OPT_COUNT)
            return bad(c, "unknown option %.100s", word);
        if (!options[o].arg && eq)
            return bad(c, "option --%s takes no value", options[o].name);
        if (options[o].arg && !eq && !next)
            return bad(c, "option --%s needs a value", options[o].name);
        *took_next = options[o].arg && !eq;
        give(a, o, !options[o].arg ? NULL : eq ? eq + 1 : next);
        return 0;
    }
    for (const char *p = word + 1; *p; p++) {
        enum ctl_opt o = find_letter(c, *p);
        if (o == OPT_COUNT)
            return bad(c, "unknown option %.100s", word);
        if (!options[o].arg) {
            give(a, o, NULL);
            continue;
        }
        if (!p[1] && !next)
            return bad(c, "option --%s needs a value", options[o].name);
        *took_next = !p[1];
        give(a, o, p[1] ? p + 1 : next);
        return 0;
    }
    return 0;
}

int ctl_parse(int argc, char **argv, struct ctl_args *a, int *exit_code)
{
    int words = 0;
    *exit_code = 0;
    if (argc < 2) {
        help_all(stderr);
        *exit_code = CTL_EXIT_USAGE;
        return -1;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help_all(stdout);
        return -1;
    }
    const struct ctl_command *c =
        !strcmp(argv[1], "--version") ? NULL : find_command(argc, argv, &words);
    if (!c) {
        *exit_code = !strcmp(argv[1], "--version")
                         ? (puts("vmctl " VV_VERSION), 0)
                         : bad(NULL, "unknown command \"%.100s\"", argv[1]);
        return -1;
    }
    size_t letters = 1;
    for (int i = 1; i < argc; i++)
        letters += strlen(argv[i]) + 1; /* no word gives more options than it has letters */
    *a = (struct ctl_args){.command = c, .pos = calloc((size_t)argc + 1, sizeof *a->pos)};
    a->given = calloc(letters, sizeof *a->given);
    ASSERT(a->pos && a->given);
    bool options_over = false;
    for (int i = 1 + words; i < argc; i++) {
        bool took_next = false;
        if (!options_over && !strcmp(argv[i], "--")) {
            options_over = true;
        } else if (!options_over && argv[i][0] == '-' && argv[i][1]) {
            if ((*exit_code = parse_word(a, argv[i], argv[i + 1], &took_next)))
                return -1;
            i += took_next;
        } else {
            a->pos[a->pos_count++] = argv[i];
            options_over = options_over || c->stop_at_arg;
        }
    }
    if (ctl_has(a, OPT_HELP)) {
        help_one(c);
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

static res_code_t wrong(enum ctl_opt opt, const char *value, const char *expected, struct err *err)
{
    return err_set(err, ERR_INVALID, "--%s %.60s: %s was expected", options[opt].name, value,
                   expected);
}

res_t ctl_bytes(const struct ctl_args *a, enum ctl_opt opt, uint64_t *out, struct err *err)
{
    const char *s = ctl_value(a, opt), *unit;
    static const char units[] = "KMGT";
    char *end;
    if (!s)
        return OK;
    errno = 0;
    uint64_t v = strtoull(s, &end, 10);
    int shift = 0;
    if (*end && (unit = strchr(units, *end & ~0x20))) {
        shift = 10 * (int)(unit - units + 1);
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B')
            end++;
    }
    if (s[0] < '0' || s[0] > '9' || *end || errno || v == 0 || v > (UINT64_MAX >> 1 >> shift))
        return wrong(opt, s, "a size like 64M or 1G", err);
    *out = v << shift;
    return OK;
}

res_t ctl_number(const struct ctl_args *a, enum ctl_opt opt, uint32_t max, uint32_t *out,
                 struct err *err)
{
    const char *s = ctl_value(a, opt);
    char *end, expected[40];
    if (!s)
        return OK;
    unsigned long v = strtoul(s, &end, 10);
    if (s[0] < '0' || s[0] > '9' || *end || v == 0 || v > max) {
        snprintf(expected, sizeof expected, "a number from 1 to %u", max);
        return wrong(opt, s, expected, err);
    }
    *out = (uint32_t)v;
    return OK;
}

res_t ctl_seconds(const struct ctl_args *a, enum ctl_opt opt, uint64_t *ns, struct err *err)
{
    const char *s = ctl_value(a, opt);
    char *end;
    if (!s)
        return OK;
    double v = strtod(s, &end);
    if (s[0] < '0' || s[0] > '9' || *end || !(v <= 1e9))
        return wrong(opt, s, "seconds, as 10 or 0.5,", err);
    *ns = (uint64_t)(v * 1e9);
    return OK;
}
