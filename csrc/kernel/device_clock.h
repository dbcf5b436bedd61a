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
/* The model of that device's clock (0 = the only one); NULL when it is unknown. */
const struct tw_clock_model *tw_device_clock_model(const struct tw_clock_models *models,
                                                   uint32_t device);
