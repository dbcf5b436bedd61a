/* device_clock.c: stamps of network devices, converted by models of their clocks. */
#include "kernel/device_clock.h"
#include "kernel/clock.h"

#include <errno.h>

#define LONGEST_REACH_NS (10ull * TW_NS_PER_S) /* of a model: rates drift */

int tw_device_clock_convert(const struct tw_clock_model *model, uint64_t device_ns,
                            uint64_t *unix_ns)
{
    const int64_t reach = (int64_t)(device_ns - model->device_ns);
    int64_t gain;

    if (reach > (int64_t)LONGEST_REACH_NS || reach < -(int64_t)LONGEST_REACH_NS)
        return 0;
    gain = (int64_t)((__int128)reach * model->rate >> 32);
    *unix_ns = model->unix_ns + (uint64_t)(reach + gain);
    return 1;
}

int tw_device_clock_set_models(struct tw_clock_models *models, const struct tw_clock_model *each,
                               uint32_t count)
{
    if (count > TW_CLOCK_MODELS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        models->each[i] = each[i];
    models->count = count;
    return 0;
}

const struct tw_clock_model *tw_device_clock_model(const struct tw_clock_models *models,
                                                   uint32_t device)
{
    if (device == 0)
        return models->count == 1 ? &models->each[0] : NULL;
    for (uint32_t i = 0; i < models->count; i++) {
        if (models->each[i].interface == device)
            return &models->each[i];
    }
    return NULL;
}

uint64_t tw_device_clock_error_ns(const struct tw_clock_models *models)
{
    uint64_t most_ns = 0;

    for (uint32_t i = 0; i < models->count; i++) {
        if (models->each[i].error_ns > most_ns)
            most_ns = models->each[i].error_ns;
    }
    return most_ns;
}
