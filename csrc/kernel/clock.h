/* clock.h: the clocks of the system; what Python sees of them, too, is in the api. */
#pragma once
#include "api/clock.h"

#define TW_NS_PER_S 1000000000u

uint64_t tw_clock_unix_ns(void);      /* CLOCK_REALTIME */
uint64_t tw_clock_monotonic_ns(void); /* CLOCK_MONOTONIC */
/* NTP 64 bit -> Unix ns, of the era that is nearest to near_ns; undoes tw_clock_ntp. */
uint64_t tw_clock_unix(uint64_t ntp, uint64_t near_ns);
/* PTPv2 truncated -> NTP 64 bit.  Nanoseconds beyond a second, which only a broken peer sends,
 * carry into the seconds: any octets give some time. */
uint64_t tw_clock_ntp_of_ptp(uint64_t ptp);
