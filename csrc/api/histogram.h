/* histogram.h: counts of nanoseconds in buckets 3 % wide. */
#pragma once
#include "api/types.h"

#define TW_HISTOGRAM_BUCKETS 832

/* By ns: 0..31 one bucket each; above, 32 for each doubling; the last has all from 2^30 - 1 on. */
struct tw_histogram {
    uint64_t samples;
    uint64_t most_ns;
    uint64_t counts[TW_HISTOGRAM_BUCKETS];
};
