/* Manual pages, made from the tables: vmctl.1, and one for each command. */
#include "client/vmctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Text for roff: no line begins with a control character, and - and \ stand for themselves. */
static void put(FILE *f, const char *s)
{
    bool line_start = true;
    for (; *s; s++) {
        if (line_start && (*s == '.' || *s == '\''))
            fputs("\\&", f);
        if (*s == '\\')
            fputs("\\e", f);
        else if (*s == '-')
            fputs("\\-", f);
        else if (*s == '~')
            fputs("\\(ti", f);
        else if (*s == '^')
            fputs("\\(ha", f);
        else if (*s == '\'')
            fputs("\\(aq", f);
        else
            fputc(*s, f);
        line_start = *s == '\n';
    }
}

/* A line of its own that begins with a macro's name; the argument in quotes. */
static void macro(FILE *f, const char *name, const char *text)
{
    fprintf(f, ".%s \"", name);
    for (const char *s = text; *s; s++) {
        char one[2] = {*s, 0};
        if (*s == '"')
            fputs("\\(dq", f);
        else if (*s == '.' || (*s == '\'' && s == text))
            fputc(*s, f);
        else
            put(f, one);
    }
    fputs("\"\n", f);
}

static void head(FILE *f, const char *title, const char *name, const char *summary)
{
    fprintf(f,
            ".\\\" Made by vmctl from its tables.\n.TH %s 1 \"\" \"Vivarium " VV_VERSION
            "\" \"Vivarium\"\n.SH NAME\n",
            title);
    put(f, name);
    fputs(" \\- ", f);
    put(f, summary);
    fputc('\n', f);
}

static void page_options(FILE *f, const struct ctl_command *c, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const struct ctl_option *o = &ctl_options[c->options[i]];
        fputs(".TP\n", f);
        if (o->letter)
            fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
        fputs("\\fB\\-\\-", f);
        put(f, o->name);
        fputs("\\fR", f);
        if (o->arg) {
            fputs(" \\fI", f);
            put(f, o->arg);
            fputs("\\fR", f);
        }
        fputc('\n', f);
        put(f, o->help);
        fputs(".\n", f);
    }
}

static void page_exits(FILE *f)
{
    fputs(".SH EXIT STATUS\n", f);
#define EXIT_CODE(code, text) \
    fputs(".TP\n\\fB", f);    \
    put(f, code);             \
    fputs("\\fR\n", f);       \
    put(f, text);             \
    fputs(".\n", f);
#include "client/vmctl/exits.def"
#undef EXIT_CODE
}

static void page_name(const struct ctl_command *c, char *out, size_t cap)
{
    snprintf(out, cap, "vmctl-%s", c->words);
    for (char *s = out; *s; s++)
        if (*s == ' ')
            *s = '-';
}

static void page_main(FILE *f)
{
    char name[80];
    head(f, "VMCTL", "vmctl", "run RISC-V programs in guests of the daemon vmd");
    fputs(".SH SYNOPSIS\n\\fBvmctl\\fR [\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIOPTION\\fR...] "
          "[\\fIARGUMENT\\fR...]\n",
          f);
    fputs(".SH DESCRIPTION\n"
          "\\fBvmctl\\fR drives \\fBvmd\\fR, which hosts guests: programs in boxes of their own, "
          "or machines. "
          "Data goes to standard output, messages to standard error in one line.\n.PP\n"
          "Where no daemon of this user runs, one is started, unless \\fB\\-\\-no\\-autostart\\fR "
          "or an address is given.\n"
          ".SH COMMANDS\n",
          f);
    for (size_t g = 0; g < ctl_group_count; g++) {
        size_t end = g + 1 < ctl_group_count ? ctl_groups[g + 1].first : ctl_command_count;
        macro(f, "SS", ctl_groups[g].title);
        for (size_t i = ctl_groups[g].first; i < end; i++) {
            if (ctl_commands[i].flags & CTL_HIDDEN)
                continue;
            page_name(&ctl_commands[i], name, sizeof name);
            fputs(".TP\n\\fB", f);
            put(f, name);
            fputs("\\fR(1)\n", f);
            put(f, ctl_commands[i].summary);
            fputs(".\n", f);
        }
    }
    fputs(".SH OPTIONS\nThese are taken by every command, and may stand before it.\n", f);
    page_options(f, &ctl_everybody, 0, ctl_everybody.option_count);
    page_exits(f);
    fputs(".SH ENVIRONMENT\n", f);
#define VARIABLE(name, text) \
    fputs(".TP\n\\fB", f);   \
    put(f, name);            \
    fputs("\\fR\n", f);      \
    put(f, text);            \
    fputs(".\n", f);
#include "client/vmctl/variables.def"
#undef VARIABLE
    fputs(".SH FILES\n.TP\n\\fI$XDG_CONFIG_HOME/vmctl/config.yaml\\fR\n"
          "Contexts, as \\fBvmctl\\-context\\-add\\fR(1) writes them: \\fBcurrent\\fR, "
          "\\fBdetach\\-keys\\fR, and under "
          "\\fBcontexts\\fR for each name \\fBhost\\fR, \\fBca\\fR, \\fBcert\\fR, \\fBkey\\fR. "
          "Flags go before the environment, the "
          "environment before this file.\n.SH SEE ALSO\n\\fBvmd\\fR(8)\n",
          f);
}

static void page_command(FILE *f, const struct ctl_command *c, const char *name)
{
    char title[80];
    size_t own = c->option_count - ctl_everybody.option_count;
    bool begun = false;
    snprintf(title, sizeof title, "%s", name);
    for (char *s = title; *s; s++)
        if (*s >= 'a' && *s <= 'z')
            *s = (char)(*s - 'a' + 'A');
    head(f, title, name, c->summary);
    fputs(".SH SYNOPSIS\n\\fBvmctl ", f);
    put(f, c->words);
    fputs("\\fR [\\fIOPTION\\fR...] ", f);
    put(f, c->arguments);
    fputc('\n', f);
    if (ctl_more(c)) {
        fputs(".SH DESCRIPTION\n", f);
        put(f, ctl_more(c));
        fputc('\n', f);
    }
    fputs(".SH OPTIONS\n", f);
    if (own)
        page_options(f, c, 0, own);
    else
        fputs("Those of every command.\n", f);
    fputs(".PP\nThe options of every command are in \\fBvmctl\\fR(1).\n", f);
    for (size_t i = 0; i < ctl_example_count; i++)
        if (&ctl_commands[ctl_examples[i].command] == c) {
            fputs(begun ? "" : ".SH EXAMPLES\n", f);
            begun = true;
            fputs(".TP\n", f);
            put(f, ctl_examples[i].line);
            fputc('\n', f);
            put(f, ctl_examples[i].text);
            fputs(".\n", f);
        }
    page_exits(f);
    fputs(".SH SEE ALSO\n\\fBvmctl\\fR(1)\n", f);
}

static res_code_t write_page(const char *dir, const char *name, const struct ctl_command *c,
                             struct err *err)
{
    char path[PB_PATH_MAX];
    snprintf(path, sizeof path, "%.3900s/%s.1", dir, name);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_os(err, "%s", path);
    if (c)
        page_command(f, c, name);
    else
        page_main(f);
    bool bad = ferror(f);
    return fclose(f) || bad ? err_set_os(err, "%s", path) : OK;
}

int ctl_cmd_manpage(struct ctl_args *a)
{
    const char *dir = a->pos[0];
    struct err err;
    char name[80];
    res_code_t res = OK;
    if (mkdir(dir, 0755) && errno != EEXIST)
        res = err_set_os(&err, "%s", dir);
    if (!res)
        res = write_page(dir, "vmctl", NULL, &err);
    for (size_t i = 0; !res && i < ctl_command_count; i++) {
        if (ctl_commands[i].flags & CTL_HIDDEN)
            continue;
        page_name(&ctl_commands[i], name, sizeof name);
        res = write_page(dir, name, &ctl_commands[i], &err);
    }
    return res ? ctl_fail(&err) : 0;
}
