/* clock.h: timestamps on the wire, and how far they may be off. */
#pragma once
#include "api/types.h"

/* Unix ns -> NTP 64 bit (RFC 4656 section 4.1.2); rounds down, so that the way back is exact. */
uint64_t tw_clock_ntp(uint64_t unix_ns);

/* Unix ns -> PTPv2 truncated (RFC 8186 section 2.3), of a PTP clock that runs on UTC as ours does.
 */
uint64_t tw_clock_ptp(uint64_t unix_ns);

/* The smallest Error Estimate of error_ns or more (RFC 4656 section 4.1.2); Multiplier 1..255. */
uint16_t tw_clock_encode_error(uint64_t error_ns, int synchronised);

/* The Error Estimate of the system clock now (adjtimex), never less than least_ns. */
uint16_t tw_clock_error_estimate(uint64_t least_ns);
