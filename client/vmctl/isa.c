/*
 * vmctl isa check, isa explain: is the instruction set that a file describes virtualizable? Runs here, without the daemon.
 *
 * Exit codes of check: 0 both senses of theorem 1 hold, 1 one fails, 2 usage, 3 the specification is wrong, 4 it differs from
 * what the file expects, 5 undecided; 125 the host refused something (a file, memory, z3).
 */
#include "client/vmctl/ctl.h"

#include "engine/virtualizability/analysis.h"
#include "engine/virtualizability/diverge.h"
#include "engine/virtualizability/report.h"
#include "engine/virtualizability/report_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXIT_BAD_SPEC 3
#define WIDTH_MAX 16u
#define TIMEOUT_NS 120000000000ull /* a file may be as hostile as it likes */

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_YAML };

static int give_up(const struct err *err)
{
    bool spec = err->code == ERR_INVALID || err->code == ERR_LIMIT || err->code == ERR_NOT_FOUND;
    ctl_say("%s", err->text);
    return spec ? EXIT_BAD_SPEC : CTL_EXIT_ERROR;
}

static res_code_t print(const struct buf *b, struct err *err)
{
    if (b->failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for the report");
    if (fwrite(b->data, 1, b->len, stdout) != b->len || fflush(stdout))
        return err_set_os(err, "standard output");
    return OK;
}

static res_code_t write_file(const char *path, const struct buf *b, struct err *err)
{
    if (b->failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_os(err, "%s", path);
    bool good = fwrite(b->data, 1, b->len, f) == b->len;
    if (fclose(f) != 0 || !good)
        return err_set_os(err, "%s", path);
    return OK;
}

/* ---- what was asked for ---- */

static res_code_t options_of(const struct ctl_args *a, struct pg_options *o, enum format *format,
                             struct err *err)
{
    static const char *const formats[] = {"table", "json", "yaml"};
    const char *solver = ctl_value(a, OPT_SOLVER), *output = ctl_value(a, OPT_OUTPUT);
    uint32_t width = 0;
    if (ctl_number(a, OPT_WIDTH, WIDTH_MAX, &width, err) != OK ||
        ctl_seconds(a, OPT_ISA_TIMEOUT, &o->timeout_ns, err) != OK)
        return FAIL;
    o->width = width;
    o->only = ctl_value(a, OPT_INSTRUCTION);
    o->emit_smt = ctl_value(a, OPT_EMIT_SMT);
    o->emit_all = o->emit_smt != NULL;
    o->use_z3 = solver != NULL;
    if (solver && strcmp(solver, "z3"))
        return err_set(err, ERR_INVALID, "--solver %.60s: z3 was expected", solver);
    *format = FORMAT_TABLE;
    for (size_t i = 0; output && i < ARRAY_LEN(formats); i++)
        if (!strcmp(output, formats[i])) {
            *format = (enum format)i;
            output = NULL;
        }
    if (output)
        return err_set(err, ERR_INVALID, "--output %.60s: table, json or yaml was expected",
                       output);
    return OK;
}

static res_code_t make_folder(const char *path, struct err *err)
{
    if (path && mkdir(path, 0777) && errno != EEXIST)
        return err_set_os(err, "%s", path);
    return OK;
}

/* ---- --diverge ---- */

static void file_name(const struct pg_analysis *a, const struct pg_result *r, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "%s-", a->spec->isa);
    for (const char *s = r->insn->name; *s && n + 4 < cap; s++)
        out[n++] = isalnum((unsigned char)*s) ? *s : '_';
    snprintf(out + n, cap - n, ".pg");
}

/* For the formal machine: one program for each hole, in the current folder. */
static res_code_t write_programs(const struct pg_analysis *a, struct err *err)
{
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        CLEANUP(buf_fini) struct buf b = {0};
        char name[200];
        if (!pg_is(r, PG_WORD_HOLE))
            continue;
        if (pg_diverge_program(a, r, &b, err) != OK) {
            if (err->code != ERR_STATE)
                return FAIL;
            ctl_say("%s: no program: %s", r->insn->name, err->text);
            continue;
        }
        file_name(a, r, name, sizeof name);
        if (write_file(name, &b, err) != OK)
            return FAIL;
        printf("%s: a guest that differs under the VMM; vmctl isa run %s --check\n", name, name);
    }
    return OK;
}

static res_code_t diverge(const struct pg_analysis *a, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};
    pg_report_divergence(a, &b);
    if (print(&b, err) != OK)
        return FAIL;
    return pg_diverge_applies(a->spec) ? write_programs(a, err) : OK;
}

/* ---- the commands ---- */

static res_code_t report(const struct ctl_args *args, const struct pg_analysis *a,
                         enum format format, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0}, page = {0};
    const char *html = ctl_value(args, OPT_HTML);
    if (ctl_has(args, OPT_DIVERGE)) {
        if (diverge(a, err) != OK)
            return FAIL;
    } else {
        if (format == FORMAT_JSON)
            pg_report_json(a, &b);
        else if (format == FORMAT_YAML)
            pg_report_yaml(a, &b);
        else
            pg_report_table(a, ctl_has(args, OPT_INSTRUCTION), &b);
        if (print(&b, err) != OK)
            return FAIL;
    }
    if (!html)
        return OK;
    pg_report_html(a, &page);
    return write_file(html, &page, err);
}

int ctl_cmd_isa_check(struct ctl_args *args)
{
    struct pg_options o = {.timeout_ns = TIMEOUT_NS};
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct err err;
    enum format format;
    int code;
    if (options_of(args, &o, &format, &err) != OK)
        return ctl_usage(&err);
    if (pg_spec_load(args->pos[0], &spec, &err) != OK || make_folder(o.emit_smt, &err) != OK ||
        pg_analyse(spec, &o, &a, &err) != OK)
        code = give_up(&err);
    else if (report(args, a, format, &err) != OK)
        code = ctl_fail(&err);
    else
        code = pg_exit_code(a);
    pg_analysis_free(a);
    pg_spec_free(spec);
    return code;
}

int ctl_cmd_isa_explain(struct ctl_args *args)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct pg_options o = {.only = args->pos[1], .timeout_ns = TIMEOUT_NS};
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct err err;
    int code = 0;
    if (ctl_seconds(args, OPT_ISA_TIMEOUT, &o.timeout_ns, &err) != OK)
        return ctl_usage(&err);
    if (pg_spec_load(args->pos[0], &spec, &err) != OK || pg_analyse(spec, &o, &a, &err) != OK) {
        code = give_up(&err);
    } else {
        pg_explain(a, &a->results[0], &b);
        if (print(&b, &err) != OK)
            code = ctl_fail(&err);
    }
    pg_analysis_free(a);
    pg_spec_free(spec);
    return code;
}
