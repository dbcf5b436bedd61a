/* histogram.c: see histogram.h. */
#include "reflector/histogram.h"

#define FINE      32u /* buckets for each doubling */
#define FINE_BITS 5
#define MOST_NS   ((1u << 30) - 1) /* more is counted there */

static unsigned bucket_of(uint64_t ns)
{
    unsigned doublings;

    if (ns < FINE)
        return (unsigned)ns;
    if (ns > MOST_NS)
        ns = MOST_NS;
    doublings = 63u - (unsigned)__builtin_clzll(ns) - FINE_BITS;
    return (doublings + 1) * FINE + (unsigned)(ns >> doublings) - FINE;
}

static uint64_t end_of(unsigned bucket)
{
    const unsigned doublings = bucket < FINE ? 0 : bucket / FINE - 1;

    return bucket < FINE ? bucket : ((uint64_t)(bucket % FINE + FINE + 1) << doublings) - 1;
}

void tw_histogram_add(struct tw_histogram *histogram, uint64_t ns)
{
    histogram->samples++;
    histogram->counts[bucket_of(ns)]++;
    if (ns > histogram->most_ns)
        histogram->most_ns = ns;
}

uint64_t tw_histogram_percentile(const struct tw_histogram *histogram, unsigned percent)
{
    const uint64_t wanted = (histogram->samples * percent + 99) / 100;
    uint64_t seen = 0;

    if (histogram->samples == 0)
        return 0;
    for (unsigned i = 0; i < TW_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted)
            return end_of(i);
    }
    return MOST_NS;
}
