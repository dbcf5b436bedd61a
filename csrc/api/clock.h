/* clock.h: timestamps on the wire, and the clocks of network devices. */
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

#define TW_CLOCK_MODELS_MAX 8

/* What the clock of a network device (PHC) says of the system clock. */
struct tw_clock_model {
    uint64_t device_ns; /* when the device's clock showed this, */
    uint64_t unix_ns;   /* the system clock showed that */
    int64_t rate;       /* how much faster the system clock runs: ns per 2^32 ns of the device's */
    uint64_t error_ns;  /* how far what is made of a stamp may be off */
    uint32_t interface; /* the device's index */
    uint32_t transmits; /* whether it stamps what leaves */
};

/* A time of the device's clock as Unix ns: 1, or 0 when it is more than 10 s from the model's. */
int tw_clock_convert(const struct tw_clock_model *model, uint64_t device_ns, uint64_t *unix_ns);
