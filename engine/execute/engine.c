/* The engine of a guest and its vCPUs: making, counting, kicking. */
#include "engine/execute/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THRESHOLD_DEFAULT 8
#define PROFILE_PLACES_MAX 65536
#define ARENA_BYTES_MIN 8192u

/* Every vCPU keeps an arena open: there must be more of them than that, or some never translate. */
static uint32_t arena_bytes(const struct run_config *c)
{
    uint32_t bytes = ALIGN_UP(MAX(c->arena_bytes, ARENA_BYTES_MIN), (uint32_t)PAGE_SIZE);
    while (bytes > ARENA_BYTES_MIN && c->cache_bytes / bytes < 2u * c->vcpu_count + 2)
        bytes = ALIGN_UP(bytes / 2, (uint32_t)PAGE_SIZE);
    return bytes;
}

static res_code_t make_translator(struct run_engine *e, struct err *err)
{
    struct xl_config x = {
        .guest = e->config.guest,
        .host = e->config.host,

        .options = {.features = e->features,
                    .sp_reg = e->config.guest->sp_reg,
                    .no_chain = e->config.no_chain,
                    .count = e->config.count_insns},
        .cache_bytes = e->config.cache_bytes,
        .arena_bytes = arena_bytes(&e->config),
        .thread_max = e->config.vcpu_count,
        .insns_max = e->config.block_insns_max,
    };
    return xl_new(&x, e->prof, &e->xl, err);
}

res_code_t run_engine_new(const struct run_config *config, struct run_engine **out, struct err *err)
{
    struct run_engine *e = calloc(1, sizeof *e);
    if (e)
        e->vcpus = calloc(MAX(config->vcpu_count, 1u), sizeof(struct run_vcpu *));
    if (!e || !e->vcpus) {
        free(e);
        return err_set(err, ERR_NO_MEMORY, "engine");
    }
    e->config = *config;
    e->config.vcpu_count = MAX(config->vcpu_count, 1u);
    if (!e->config.t1_threshold)
        e->config.t1_threshold = THRESHOLD_DEFAULT;
    snprintf(e->name, sizeof e->name, "%s", config->name ? config->name : "guest");
    e->config.name = e->name;
    pthread_mutex_init(&e->lock, NULL);
    res_code_t rc = prof_new(PROFILE_PLACES_MAX, &e->prof, err);
    if (rc == OK && !config->no_translate) {
        e->features = config->host->features() & ~config->features_off;
        rc = make_translator(e, err);
    }
    if (rc != OK) {
        run_engine_free(e);
        return FAIL;
    }
    *out = e;
    return OK;
}

void run_engine_free(struct run_engine *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < e->config.vcpu_count; i++)
        ASSERT(!e->vcpus[i]);
    xl_free(e->xl);
    prof_free(e->prof);
    pthread_mutex_destroy(&e->lock);
    free(e->vcpus);
    free(e);
}

void run_engine_counters(struct run_engine *e, uint64_t *values)
{
    prof_sum(e->prof, values);
}

void run_engine_stats(struct run_engine *e, struct run_stats *out)
{
    uint64_t n[PROF_COUNTER_COUNT];
    prof_sum(e->prof, n);
    struct cc_stats cc = {0};
    if (e->xl)
        cc_cache_stats(xl_cache(e->xl), &cc);
    *out = (struct run_stats){
        .insns_t0 = n[PROF_INSNS_T0],
        .blocks_translated = n[PROF_BLOCKS],
        .insns_translated = n[PROF_INSNS_T1],
        .host_bytes = n[PROF_HOST_BYTES],
        .translate_ns = n[PROF_TRANSLATE_NS],
        .misses = n[PROF_MISSES],
        .chained = cc.chained,
        .retired = cc.retired,
        .evictions = cc.evictions,
        .faults = n[PROF_FAULTS],
        .exits = n[PROF_EXITS],
    };
}

/* ---- vCPUs ---- */

static void nudge(void *ctx)
{
    run_request(ctx, RUN_REQ_SAFE);
}

static res_code_t make_vcpu(struct run_engine *e, struct run_vcpu *rv, struct err *err)
{
    if (cpu_vcpu_new(&rv->v, err) != OK)
        return FAIL;
    rv->v->run = rv;
    atomic_store(&rv->v->jt, cc_missing_table());
    if (e->xl) {
        if (xl_start(e->xl, err) != OK ||
            xl_thread_new(e->xl, &rv->source, nudge, rv, &rv->xt, err) != OK)
            return FAIL;
        rv->ct = xl_cc_thread(rv->xt);
    }
    return OK;
}

res_code_t run_vcpu_new(struct run_engine *e, struct run_vcpu **out, struct err *err)
{
    struct run_vcpu *rv = calloc(1, sizeof *rv);
    if (!rv)
        return err_set(err, ERR_NO_MEMORY, "vCPU");
    rv->engine = e;
    prof_attach(e->prof, &rv->source);
    res_code_t rc = make_vcpu(e, rv, err);
    if (rc == OK) {
        pthread_mutex_lock(&e->lock);
        uint32_t i = 0;
        while (i < e->config.vcpu_count && e->vcpus[i])
            i++;
        if (i < e->config.vcpu_count)
            e->vcpus[i] = rv;
        else
            rc = err_set(err, ERR_LIMIT, "more than %u vCPUs", e->config.vcpu_count);
        pthread_mutex_unlock(&e->lock);
    }
    if (rc != OK) {
        run_vcpu_free(rv);
        return FAIL;
    }
    *out = rv;
    return OK;
}

void run_vcpu_free(struct run_vcpu *rv)
{
    if (!rv)
        return;
    struct run_engine *e = rv->engine;
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->config.vcpu_count; i++)
        if (e->vcpus[i] == rv)
            e->vcpus[i] = NULL;
    pthread_mutex_unlock(&e->lock);
    xl_thread_free(rv->xt);
    prof_detach(e->prof, &rv->source);
    cpu_vcpu_free(rv->v);
    free(rv);
}

struct vcpu *run_vcpu_state(struct run_vcpu *rv)
{
    return rv->v;
}

/* The request first, then the table. The vCPU takes them back in the other order: it clears requests, puts its table
 * back, and looks for requests once more before it enters translated code; so either it sees this one, or this table
 * stays. A table that stays without a request costs one miss. */
void run_request(struct run_vcpu *rv, uint32_t bits)
{
    atomic_fetch_or(&rv->v->exit_req, bits);
    atomic_store(&rv->v->jt, cc_missing_table());
}

void run_kick(struct run_vcpu *rv)
{
    run_request(rv, RUN_REQ_KICK);
}

bool run_nudge_others(struct run_space *s, const struct run_vcpu *but)
{
    struct run_engine *e = s->engine;
    bool any = false;
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->config.vcpu_count; i++) {
        struct run_vcpu *rv = e->vcpus[i];
        if (rv && rv != but && atomic_load(&rv->in) == s) {
            run_request(rv, RUN_REQ_SAFE);
            any = true;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return any;
}

void run_disasm(struct run_engine *e, struct mem_space *m, gva_t pc, char *text, size_t n)
{
    uint8_t bytes[16];
    size_t got = sizeof bytes;
    while (got && !mem_peek(m, bytes, pc, got))
        got -= 2;
    if (!got || !e->config.guest->disasm(bytes, got, pc, text, n))
        snprintf(text, n, "?");
}
