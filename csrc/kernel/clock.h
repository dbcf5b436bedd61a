/* clock.h: the clocks of the system; what Python sees of them, too, is in the api. */
#pragma once
#include "api/clock.h"

#define TW_NS_PER_S 1000000000u

uint64_t tw_clock_unix_ns(void);      /* CLOCK_REALTIME */
uint64_t tw_clock_monotonic_ns(void); /* CLOCK_MONOTONIC */
/* A stamp is believed when it is not zero, not later than now_ns and at most 10 s older. */
int tw_clock_believes(uint64_t stamp_ns, uint64_t now_ns);
