/* device_clock.h: the clocks of network devices. */
#pragma once
#include "api/types.h"

#define TW_CLOCK_MODELS_MAX 8

/* Converts stamps of a network device's clock (PHC) to Unix time. */
struct tw_clock_model {
    uint64_t device_ns; /* when the device's clock showed this, */
    uint64_t unix_ns;   /* the system clock showed that */
    int64_t rate;       /* how much faster the system clock runs: ns per 2^32 ns of the device's */
    uint64_t error_ns;  /* how far what is made of a stamp may be off */
    uint32_t interface; /* the device's index */
    uint32_t transmits; /* whether it stamps what leaves */
};

/* A time of the device's clock as Unix ns: 1, or 0 when it is more than 10 s from the model's. */
int tw_device_clock_convert(const struct tw_clock_model *model, uint64_t device_ns,
                            uint64_t *unix_ns);
