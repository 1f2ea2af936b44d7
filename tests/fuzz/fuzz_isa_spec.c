// links: engine/virtualizability engine/base
/*
 * Any bytes as a specification of an instruction set: refused with a place, or analysed within its time, every witness
 * replayed, every renderer run. Seeds: corpus/isa_spec (small machines, and refusals).
 */
#include "engine/base/base.h"
#include "engine/virtualizability/analysis.h"
#include "engine/virtualizability/report.h"
#include "engine/virtualizability/report_table.h"

#include <string.h>

#define TIME_NS 20000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct pg_analysis *a)
{
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        for (int w = 0; w < PG_WORD_COUNT; w++)
            if (r->word[w].witness)
                ASSERT(pg_replay(a->spec, r->insn, r->word[w].witness));
    }
}

static void render(const struct pg_analysis *a)
{
    void (*const renderers[])(const struct pg_analysis *, struct buf *) = {
        pg_report_json, pg_report_yaml, pg_report_html, pg_report_divergence};
    for (size_t i = 0; i < ARRAY_LEN(renderers); i++) {
        CLEANUP(buf_fini) struct buf b = {0};
        renderers[i](a, &b);
        ASSERT(b.failed || b.len);
    }
    CLEANUP(buf_fini) struct buf table = {0}, text = {0};
    pg_report_table(a, true, &table);
    for (uint32_t i = 0; i < a->result_count; i++)
        pg_explain(a, &a->results[i], &text);
    ASSERT(table.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct err err = {0};
    struct pg_options options = {.timeout_ns = TIME_NS};
    if (pg_spec_parse("fuzz", data, size, &spec, &err) != OK) {
        ASSERT(!spec && err.text[0] && (err.code != ERR_INVALID || !strncmp(err.text, "fuzz:", 5)));
        return 0;
    }
    ASSERT(spec->insn_count > 0 && spec->mode >= 0);
    if (pg_analyse(spec, &options, &a, &err) == OK) {
        check(a);
        render(a);
    }
    pg_analysis_free(a);
    pg_spec_free(spec);
    return 0;
}
