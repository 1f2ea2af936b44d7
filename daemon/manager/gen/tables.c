/* mgr-tables vmd.yaml|vmd.yaml.5|vmd.8: what the tables of the manager (config.def, vmd.def) say to people. */
#include "daemon/manager/config_table.h"
#include "engine/base/base.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 100

/* ---- etc/vmd.yaml ---- */

static void comment(unsigned indent, const char *text)
{
    unsigned at = 0;
    for (const char *s = text; *s;) {
        unsigned n = (unsigned)strcspn(s, " ");
        if (at && at + n + 1 > COLUMNS) {
            putchar('\n');
            at = 0;
        }
        at += (unsigned)(at ? printf(" %.*s", (int)n, s)
                            : printf("%*s# %.*s", (int)indent, "", (int)n, s));
        s += n;
        s += strspn(s, " ");
    }
    putchar('\n');
}

/* What stands behind the key: the example, or the default. */
static const char *shown(const struct mgr_key *k)
{
    return k->example ? k->example : k->def;
}

static void explain(unsigned indent, const struct mgr_key *k)
{
    char expected[200], text[1200];
    mgr_key_expected(k, expected, sizeof expected);
    bool list = k->type == MGR_USERS || k->type == MGR_TEXTS;
    const char *def = list ? "empty" : *k->def ? k->def : NULL;
    snprintf(text, sizeof text, "%s Expected: %s.%s%s%s%s", k->help, expected,
             def && k->example ? " Default: " : "", def && k->example ? def : "",
             def && k->example ? "." : "",
             k->flags & MGR_RESTART    ? " Needs a restart."
             : k->flags & MGR_REQUIRED ? " Required."
                                       : "");
    comment(indent, text);
}

/* Without its '#' a line stands where YAML wants it. */
static void yaml_keys(const char *owner, unsigned deep, bool item)
{
    bool first = item;
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k));) {
        const char *lead = !item ? "" : first ? "- " : "  ";
        if (k->type == MGR_MAP) {
            comment(2, k->help);
            printf("  #%*s%s%s:\n", (int)deep, "", lead, k->name);
            yaml_keys(k->inner, deep + 4, false);
            continue;
        }
        explain(2, k);
        const char *quote = k->type == MGR_MODE ? "\"" : "";
        printf("  #%*s%s%s: %s%s%s\n", (int)deep, "", lead, k->name, quote, shown(k), quote);
        first = false;
    }
}

static void emit_yaml(void)
{
    puts("# Configuration of vmd, see vmd.yaml(5). Made from daemon/manager/config.def.\n"
         "#\n"
         "# What stands here in comments are the defaults, or examples where a default depends on "
         "the machine.\n"
         "# Check with \"vmd -t\"; \"systemctl reload vmd\", or SIGHUP, takes over what needs no "
         "restart.");
    for (const struct mgr_key *k = NULL; (k = mgr_key_next("", k));) {
        putchar('\n');
        comment(0, k->help);
        printf("%s:\n", k->name);
        yaml_keys(k->inner, 0, k->type == MGR_ITEMS);
    }
}

/* ---- man pages ---- */

/* Text for roff: no line begins with a dot or quote by accident, a backslash is one, a hyphen stays one. */
static void roff(const char *s)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            fputs("\\&", stdout);
        if (*s == '\\')
            fputs("\\e", stdout);
        else if (*s == '-')
            fputs("\\-", stdout);
        else
            putchar(*s);
        start = *s == '\n';
    }
}

static void heading(const char *title, unsigned section, const char *what)
{
    printf(".\\\" Made from the tables of daemon/manager.\n.TH %s %u \"\" \"Vivarium\" \"%s\"\n",
           title, section, what);
}

static void man_keys(const char *owner, const char *prefix)
{
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k));) {
        char expected[200], name[80];
        snprintf(name, sizeof name, "%s%s", prefix, k->name);
        if (k->type == MGR_MAP) {
            printf(".TP\n.B %s\n", name);
            roff(k->help);
            putchar('\n');
            snprintf(name, sizeof name, "%s%s.", prefix, k->name);
            man_keys(k->inner, name);
            continue;
        }
        mgr_key_expected(k, expected, sizeof expected);
        printf(".TP\n.B %s\n", name);
        roff(k->help);
        fputs("\n.br\nExpected: ", stdout);
        roff(expected);
        fputs(".", stdout);
        if (*k->def) {
            fputs(" Default: ", stdout);
            roff(k->def);
            fputs(".", stdout);
        }
        if (k->flags & MGR_REQUIRED)
            fputs(" Required.", stdout);
        if (k->flags & MGR_RESTART)
            fputs(" Takes effect at the next start.", stdout);
        putchar('\n');
    }
}

static void emit_man5(void)
{
    heading("VMD.YAML", 5, "File formats");
    fputs(".SH NAME\nvmd.yaml \\- configuration of vmd, the daemon of Vivarium\n"
          ".SH DESCRIPTION\n"
          "A YAML file, at most 1 MiB, one document, without aliases, anchors and tags.\n"
          "It is read from\n.I /etc/vmd/vmd.yaml\nif vmd runs as root, else from\n"
          ".I $XDG_CONFIG_HOME/vmd/vmd.yaml\nor\n.IR ~/.config/vmd/vmd.yaml ;\n"
          ".B vmd \\-\\-config\nnames another. None is needed: every key has a default. Flags "
          "of\n.BR vmd (8)\n"
          "stand above the file.\n.PP\n"
          "Every key is checked. An unknown key, a value of the wrong kind, a value out of its "
          "range and a key that is\n"
          "there twice are errors; vmd says all of them, with file, line, column and what was "
          "expected, and does not\n"
          "start.\n.B vmd \\-t\nchecks without starting.\n.PP\n"
          "On SIGHUP vmd reads the file again. A file with errors changes nothing. Keys that are "
          "marked below take effect\n"
          "at the next start; vmd says so in its log when one of them has changed.\n.PP\n"
          "Sizes are numbers with K, M, G or T (powers of 1024); times are numbers with ms, s, m, "
          "h or d.\n",
          stdout);
    for (const struct mgr_key *k = NULL; (k = mgr_key_next("", k));) {
        printf(".SH %s\n", k->name);
        roff(k->help);
        putchar('\n');
        if (k->type == MGR_ITEMS)
            puts("A list; each item is a map with these keys:");
        man_keys(k->inner, "");
    }
    fputs(
        ".SH EXAMPLE\n.nf\n"
        "log:\n  format: journald\ntenants:\n  \\- name: build\n    users: [jenkins]\n    quotas:\n"
        "      guests: 200\n      memory: 32G\n  \\- name: ops\n    users: [root]\n    admin: "
        "true\n.fi\n"
        ".SH SEE ALSO\n.BR vmd (8),\n.BR vmctl (1)\n",
        stdout);
}

static const struct {
    const char *name, *arg, *help;
    char letter;
} flags[] = {
#define MGR_FLAG(id, name, letter, arg, key, help) {name, arg, help, letter},
#include "daemon/manager/vmd.def"
#undef MGR_FLAG
};

static void emit_man8(void)
{
    heading("VMD", 8, "System administration");
    fputs(".SH NAME\nvmd \\- the daemon of Vivarium: runs guests for its tenants\n"
          ".SH SYNOPSIS\n.B vmd\n.RI [ flags ]\n"
          ".SH DESCRIPTION\n"
          "vmd hosts guests: RISC\\-V Linux programs, each in a box of its own. It listens on a "
          "Unix socket, and on TCP\n"
          "with mutual TLS where the configuration says so, and is driven with\n.BR vmctl (1)\n"
          "or any gRPC client. It needs no root: started by a user, it serves that user. Guests "
          "run in\n"
          ".IR vmd\\-worker ,\nimages are made by\n.IR vmd\\-import .\n"
          ".SH FLAGS\n",
          stdout);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        fputs(".TP\n", stdout);
        fputs(".B ", stdout);
        if (flags[i].letter)
            printf("\\-%c, ", flags[i].letter);
        fputs("\\-\\-", stdout);
        roff(flags[i].name);
        if (flags[i].arg)
            printf(" \\fI%s\\fP", flags[i].arg);
        putchar('\n');
        roff(flags[i].help);
        putchar('\n');
    }
    fputs(
        ".SH SIGNALS\n.TP\n.B SIGHUP\nRead the configuration again; see\n.BR vmd.yaml (5).\n"
        "A log file is opened anew.\n"
        ".TP\n.BR SIGTERM \", \" SIGINT\n"
        "Stop: no new connections, guests end (SIGTERM, workers.stop_grace, SIGKILL), clients read "
        "the last answers. A\n"
        "second signal leaves the grace out.\n"
        ".TP\n.B SIGUSR1\nLeave: end at once, and leave guests running for the next vmd, where\n"
        "workers.running_guests is adopt; the way to a new version without an end for guests.\n"
        ".SH EXIT STATUS\n.TP\n.B 0\nIt was told to stop, or the configuration is correct (\\-t).\n"
        ".TP\n.B 1\nIt could not start, or the configuration is wrong.\n.TP\n.B 2\nThe command "
        "line is wrong.\n"
        ".SH ENVIRONMENT\n.TP\n.BR LISTEN_FDS \", \" LISTEN_PID\n"
        "One listening Unix socket may be passed, as systemd does for vmd.socket.\n"
        ".TP\n.B NOTIFY_SOCKET\nTold READY=1, RELOADING=1 and STOPPING=1.\n"
        ".TP\n.BR XDG_CONFIG_HOME \", \" XDG_RUNTIME_DIR \", \" XDG_DATA_HOME\n"
        "Where an ordinary user's configuration, socket and state are.\n"
        ".SH FILES\n.TP\n.I /etc/vmd/vmd.yaml\nConfiguration.\n.TP\n.I /run/vmd/vmd.sock\nSocket.\n"
        ".TP\n.I /var/lib/vmd\nState.\n"
        ".SH METRICS\nWith metrics.listen set, GET /metrics answers in the text format of "
        "Prometheus;\n"
        "GET /healthz answers 200 while vmd lives, GET /readyz while it takes calls.\n"
        ".SH SEE ALSO\n.BR vmctl (1),\n.BR vmd.yaml (5)\n",
        stdout);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*emit)(void);
    } outputs[] = {{"vmd.yaml", emit_yaml}, {"vmd.yaml.5", emit_man5}, {"vmd.8", emit_man8}};
    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(outputs); i++)
        if (!strcmp(argv[1], outputs[i].name)) {
            outputs[i].emit();
            return fflush(stdout) || ferror(stdout);
        }
    fputs("usage: mgr-tables vmd.yaml|vmd.yaml.5|vmd.8\n", stderr);
    return 2;
}
