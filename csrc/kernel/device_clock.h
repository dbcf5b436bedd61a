/* device_clock.h: what is known of the clocks of network devices. */
#pragma once
#include "api/device_clock.h"

struct tw_clock_models {
    struct tw_clock_model each[TW_CLOCK_MODELS_MAX];
    uint32_t count;
};

/* -EINVAL for too many. */
int tw_device_clock_set_models(struct tw_clock_models *models, const struct tw_clock_model *each,
                               uint32_t count);
/* The error of the worst of them. */
uint64_t tw_device_clock_error_ns(const struct tw_clock_models *models);
/* A hardware stamp of that device (0 = the only one) as Unix ns, 0 when it cannot be: its clock is
 * unknown, or it is later than latest_ns, or much earlier. */
uint64_t tw_device_clock_unix_ns(const struct tw_clock_models *models, uint32_t device,
                                 uint64_t device_ns, uint64_t latest_ns);
