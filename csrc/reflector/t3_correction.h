/* t3_correction.h: by how much T3 may be put off after the clock was read for it, so that it is
 * hardly ever later than the departure.  Learnt from samples of the time between the two, by the
 * state that the loop was in, since that is what the time depends on.  One thread's, without a
 * lock; no clock is read here. */
#pragma once
#include <stdint.h>

/* Each has a correction of its own.  The colder the caches, the later a reply leaves. */
enum tw_t3_state {
    TW_T3_RUN,    /* segments of one send */
    TW_T3_BUSY,   /* several replies at once */
    TW_T3_STEADY, /* one, soon after the one before */
    TW_T3_PAUSED, /* one, after a pause, rehearsed; longer and longer pauses */
    TW_T3_RESTED,
    TW_T3_IDLE,
    TW_T3_ASLEEP,
    TW_T3_STATE_COUNT
};

struct tw_t3_sampled {
    uint64_t least_ns[2]; /* of the samples now, and of as many before */
    uint32_t samples;     /* up to a window; then from one window to two */
    uint32_t correction_ns;
};

struct tw_t3_correction {
    struct tw_t3_sampled states[TW_T3_STATE_COUNT];
    uint64_t floor_ns; /* what no reply takes less than; 0 = unknown */
};

/* Forgets all samples.  With a floor the first correction is most of it, and samples raise that
 * from the fourth on; without, nothing is corrected before a whole window of samples. */
void tw_t3_correction_start(struct tw_t3_correction *correction, uint64_t floor_ns);
/* A reply in that state was on its way so many ns after the clock was read. */
void tw_t3_correction_learn(struct tw_t3_correction *correction, enum tw_t3_state state,
                            uint64_t ns);

#define TW_T3_STEADY_NS 500000u /* pauses up to these */
#define TW_T3_PAUSED_NS 3000000u
#define TW_T3_RESTED_NS 25000000u
#define TW_T3_IDLE_NS   250000000u

/* Tells the state in which count replies leave at now_ns, the ones before them having left at
 * left_ns.  Of a clock that was set back the pause is unknown, and taken for long. */
static inline enum tw_t3_state tw_t3_state_after(uint64_t left_ns, uint64_t now_ns, int count)
{
    const uint64_t pause_ns = now_ns - left_ns;

    if (count > 1)
        return TW_T3_BUSY;
    if (pause_ns <= TW_T3_STEADY_NS)
        return TW_T3_STEADY;
    if (pause_ns <= TW_T3_PAUSED_NS)
        return TW_T3_PAUSED;
    if (pause_ns <= TW_T3_RESTED_NS)
        return TW_T3_RESTED;
    return pause_ns <= TW_T3_IDLE_NS ? TW_T3_IDLE : TW_T3_ASLEEP;
}
