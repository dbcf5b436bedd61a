/* t3_correction.c: the correction is most of the least of the latest samples.  The time has a hard
 * floor (the instructions on the way, everything in the caches) and a long tail, so the least of
 * some hundred samples is near the lowest per mille, whatever stalls there were. */
#include "reflector/t3_correction.h"

#define WINDOW   256u /* samples */
#define FEW_HOT  64u  /* samples that could all be outliers: a millisecond between them */
#define FEW_COLD 4u   /* each is a reply after a pause */
#define MOST_NS  ((1u << 30) - 1)

/* A part of the least, since some replies are faster than all samples: the larger the more replies
 * one sample stands for. */
static const uint64_t margins[TW_T3_STATE_COUNT] = {
    [TW_T3_RUN] = 12,    [TW_T3_BUSY] = 12, [TW_T3_STEADY] = 6,  [TW_T3_PAUSED] = 24,
    [TW_T3_RESTED] = 24, [TW_T3_IDLE] = 24, [TW_T3_ASLEEP] = 24,
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The first window.  All of a few samples may have been disturbed: from the floor to the least in
 * as many steps, and at most to twice the floor. */
static uint64_t first_bound(const struct tw_t3_sampled *sampled, uint32_t few, uint64_t floor_ns)
{
    const uint64_t bounded_ns = smaller(sampled->least_ns[0], 2 * floor_ns);
    const uint32_t step = sampled->samples > few ? sampled->samples - few : 0;

    if (bounded_ns <= floor_ns)
        return bounded_ns;
    return floor_ns + (bounded_ns - floor_ns) * (step < few ? step : few) / few;
}

static void correct(struct tw_t3_correction *correction, int state)
{
    struct tw_t3_sampled *sampled = &correction->states[state];
    const uint64_t bound_ns =
        sampled->samples < WINDOW
            ? first_bound(sampled, state < TW_T3_PAUSED ? FEW_HOT : FEW_COLD, correction->floor_ns)
            : smaller(sampled->least_ns[0], sampled->least_ns[1]);

    sampled->correction_ns = (uint32_t)(bound_ns - bound_ns / margins[state]);
}

void tw_t3_correction_start(struct tw_t3_correction *correction, uint64_t floor_ns)
{
    correction->floor_ns = floor_ns;
    for (int i = 0; i < TW_T3_STATE_COUNT; i++) {
        correction->states[i] = (struct tw_t3_sampled){.least_ns = {UINT64_MAX, UINT64_MAX}};
        correct(correction, i);
    }
}

void tw_t3_correction_learn(struct tw_t3_correction *correction, enum tw_t3_state state,
                            uint64_t ns)
{
    struct tw_t3_sampled *sampled = &correction->states[state];

    if (sampled->samples == WINDOW) {
        sampled->least_ns[1] = sampled->least_ns[0];
        sampled->least_ns[0] = UINT64_MAX;
    }
    if (++sampled->samples == 2 * WINDOW)
        sampled->samples = WINDOW;
    sampled->least_ns[0] = smaller(sampled->least_ns[0], smaller(ns, MOST_NS));
    correct(correction, (int)state);
}
