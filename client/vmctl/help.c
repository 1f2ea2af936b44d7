/* Help, made from the tables. */
#include "client/vmctl/ctl.h"
#include "client/vmctl/write.h"

#include <string.h>

static const char exit_codes[] = "Exit codes: the guest's own; 128+signal; 124 --timeout passed; "
                                 "125 an error of vmctl or a limit; 2 usage.\n";

void ctl_option_left(enum ctl_opt opt, char *out, size_t cap)
{
    const struct ctl_option *o = &ctl_options[opt];
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, cap, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

static void help_options(FILE *f, const struct ctl_command *c, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char left[80];
        ctl_option_left(c->options[i], left, sizeof left);
        fprintf(f, strlen(left) > 30 ? "  %s\n%34s%s\n" : "  %-31s %s%s\n", left, "",
                ctl_options[c->options[i]].help);
    }
}

void ctl_help_all(FILE *f)
{
    fputs("Usage: vmctl [OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\nRuns RISC-V programs in "
          "guests of the "
          "daemon vmd.\n",
          f);
    for (size_t g = 0; g < ctl_group_count; g++) {
        size_t end = g + 1 < ctl_group_count ? ctl_groups[g + 1].first : ctl_command_count;
        fprintf(f, "\n%s:\n", ctl_groups[g].title);
        for (size_t i = ctl_groups[g].first; i < end; i++)
            if (!(ctl_commands[i].flags & CTL_HIDDEN))
                fprintf(f, "  %-13s %s\n", ctl_commands[i].words, ctl_commands[i].summary);
    }
    fputs("\nOptions of every command:\n", f);
    help_options(f, &ctl_everybody, 0, ctl_everybody.option_count);
    fprintf(f, "\n\"vmctl COMMAND --help\" says more.\n%s", exit_codes);
}

void ctl_help_one(FILE *f, const struct ctl_command *c)
{
    size_t own = c->option_count - ctl_everybody.option_count;
    bool begun = false;
    fprintf(f, "Usage: vmctl %s [OPTION...] %s\n\n%s.\n", c->words, c->arguments, c->summary);
    if (ctl_more(c))
        fprintf(f, "%s\n", ctl_more(c));
    fputc('\n', f);
    help_options(f, c, 0, own);
    if (own)
        fputc('\n', f);
    help_options(f, c, own, c->option_count);
    for (size_t i = 0; i < ctl_example_count; i++)
        if (&ctl_commands[ctl_examples[i].command] == c) {
            fputs(begun ? "" : "\nExamples:\n", f);
            begun = true;
            fprintf(f, "  %s\n      %s\n", ctl_examples[i].line, ctl_examples[i].text);
        }
    fprintf(f, "\n%s", exit_codes);
}

/* ---- for programs ---- */

static void write_option(struct ctl_writer *w, enum ctl_opt opt)
{
    const struct ctl_option *o = &ctl_options[opt];
    char letter[2] = {o->letter, 0};
    ctl_w_map(w);
    ctl_w_text(w, "name", o->name);
    if (o->letter)
        ctl_w_text(w, "letter", letter);
    if (o->arg)
        ctl_w_text(w, "argument", o->arg);
    ctl_w_text(w, "help", o->help);
    ctl_w_end(w);
}

static void write_command(struct ctl_writer *w, const struct ctl_command *c)
{
    ctl_w_map(w);
    ctl_w_text(w, "command", c->words);
    ctl_w_text(w, "arguments", c->arguments);
    ctl_w_text(w, "summary", c->summary);
    if (ctl_more(c))
        ctl_w_text(w, "description", ctl_more(c));
    ctl_w_key(w, "options");
    ctl_w_list(w);
    for (size_t i = 0; i < c->option_count - ctl_everybody.option_count; i++)
        write_option(w, c->options[i]);
    ctl_w_end(w);
    ctl_w_key(w, "examples");
    ctl_w_list(w);
    for (size_t i = 0; i < ctl_example_count; i++)
        if (&ctl_commands[ctl_examples[i].command] == c) {
            ctl_w_map(w);
            ctl_w_text(w, "line", ctl_examples[i].line);
            ctl_w_text(w, "text", ctl_examples[i].text);
            ctl_w_end(w);
        }
    ctl_w_end(w);
    ctl_w_end(w);
}

static int help_json(void)
{
    static const struct {
        const char *code, *text;
    } codes[] = {
#define EXIT_CODE(code, text) {code, text},
#include "client/vmctl/exits.def"
#undef EXIT_CODE
    };
    struct buf b = {0};
    struct ctl_writer w;
    ctl_w_init(&w, &b, CTL_FORM_JSON);
    ctl_w_map(&w);
    ctl_w_text(&w, "version", VV_VERSION);
    ctl_w_key(&w, "options");
    ctl_w_list(&w);
    for (size_t i = 0; i < ctl_everybody.option_count; i++)
        write_option(&w, ctl_everybody.options[i]);
    ctl_w_end(&w);
    ctl_w_key(&w, "commands");
    ctl_w_list(&w);
    for (size_t i = 0; i < ctl_command_count; i++)
        if (!(ctl_commands[i].flags & CTL_HIDDEN))
            write_command(&w, &ctl_commands[i]);
    ctl_w_end(&w);
    ctl_w_key(&w, "exitCodes");
    ctl_w_list(&w);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        ctl_w_map(&w);
        ctl_w_text(&w, "code", codes[i].code);
        ctl_w_text(&w, "text", codes[i].text);
        ctl_w_end(&w);
    }
    ctl_w_end(&w);
    ctl_w_end(&w);
    return ctl_w_print(&w);
}

int ctl_cmd_help(struct ctl_args *a)
{
    int used;
    if (ctl_has(a, OPT_JSON))
        return help_json();
    if (a->pos_count == 0) {
        ctl_help_all(stdout);
        return 0;
    }
    const struct ctl_command *c = ctl_find_command(a->pos, a->pos_count, &used);
    if (!c || used < a->pos_count) {
        ctl_say("no command \"%.100s\"; see \"vmctl --help\"", a->pos[c ? used : 0]);
        return CTL_EXIT_USAGE;
    }
    ctl_help_one(stdout, c);
    return 0;
}
