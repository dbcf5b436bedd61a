/* histogram.h: counts of nanoseconds in buckets 3 % wide; the struct is in api/.  Pure. */
#pragma once
#include "api/histogram.h"

void tw_histogram_add(struct tw_histogram *histogram, uint64_t ns);
/* The percentile, 0..100, in ns, rounded up to the end of its bucket; 0 when it is empty. */
uint64_t tw_histogram_percentile(const struct tw_histogram *histogram, unsigned percent);
