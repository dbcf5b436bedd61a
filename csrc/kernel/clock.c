/* clock.c: the system clock, its NTP form and what it is worth. */
#include "kernel/kernel.h"

#include <errno.h>
#include <sys/timex.h>
#include <time.h>

#define NTP_OF_UNIX_EPOCH  2208988800u /* 1900 to 1970 */
#define OLDEST_STAMP_NS    (10ull * TW_NS_PER_S)
#define UNSYNCHRONISED_NS  (16ull * TW_NS_PER_S) /* the kernel's own word for "no idea" */
#define LEAP_SECOND_NS     ((uint64_t)TW_NS_PER_S)
#define LONGEST_REACH_NS   (10ull * TW_NS_PER_S) /* of a model: rates drift */
#define LONGEST_LAG_NS     100000000ull          /* from a device's stamp to the kernel's */
#define LEAST_SLACK_NS     1000u
#define SYNCHRONISED_BIT   0x8000u
#define LARGEST_MULTIPLIER 255u
#define LARGEST_SCALE      63u

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * TW_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t tw_clock_unix_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

uint64_t tw_clock_monotonic_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int tw_clock_believes(uint64_t stamp_ns, uint64_t now_ns)
{
    return stamp_ns != 0 && stamp_ns <= now_ns && now_ns - stamp_ns <= OLDEST_STAMP_NS;
}

uint64_t tw_clock_ntp(uint64_t unix_ns)
{
    const uint64_t seconds = unix_ns / TW_NS_PER_S + NTP_OF_UNIX_EPOCH; /* era: shifted out */
    const uint64_t fraction = ((unix_ns % TW_NS_PER_S) << 32) / TW_NS_PER_S;

    return seconds << 32 | fraction;
}

uint64_t tw_clock_ptp(uint64_t unix_ns)
{
    return unix_ns / TW_NS_PER_S << 32 | unix_ns % TW_NS_PER_S;
}

uint16_t tw_clock_encode_error(uint64_t error_ns, int synchronised)
{
    /* In units of 2^-32 s, rounded up; a whole uint64_t of ns takes 67 bits. */
    unsigned __int128 multiplier =
        (((unsigned __int128)error_ns << 32) + TW_NS_PER_S - 1) / TW_NS_PER_S;
    unsigned scale = 0;

    while (multiplier > LARGEST_MULTIPLIER && scale < LARGEST_SCALE) {
        multiplier = (multiplier + 1) / 2; /* rounding up again and again is rounding up once */
        scale++;
    }
    if (multiplier == 0)
        multiplier = 1; /* RFC 4656 section 4.1.2: MUST NOT be zero */
    return (uint16_t)((synchronised ? SYNCHRONISED_BIT : 0) | scale << 8 | (unsigned)multiplier);
}

uint16_t tw_clock_error_estimate(uint64_t least_ns)
{
    struct timex kernel = {.modes = 0};
    const int state = adjtimex(&kernel);
    const int synchronised = state >= 0 && state != TIME_ERROR && !(kernel.status & STA_UNSYNC);
    uint64_t error_ns = 0;

    if (state >= 0 && kernel.maxerror > 0)
        error_ns = (uint64_t)kernel.maxerror * 1000u;
    if (!synchronised && error_ns < UNSYNCHRONISED_NS)
        error_ns = UNSYNCHRONISED_NS;
    if (state == TIME_OOP && error_ns < LEAP_SECOND_NS)
        error_ns = LEAP_SECOND_NS; /* the same second goes by twice */
    if (error_ns < least_ns)
        error_ns = least_ns;
    return tw_clock_encode_error(error_ns, synchronised);
}

/* ---- clocks of devices */

int tw_clock_convert(const struct tw_clock_model *model, uint64_t device_ns, uint64_t *unix_ns)
{
    const int64_t reach = (int64_t)(device_ns - model->device_ns);
    int64_t gain;

    if (reach > (int64_t)LONGEST_REACH_NS || reach < -(int64_t)LONGEST_REACH_NS)
        return 0;
    gain = (int64_t)((__int128)reach * model->rate >> 32);
    *unix_ns = model->unix_ns + (uint64_t)(reach + gain);
    return 1;
}

int tw_clock_models_set(struct tw_clock_models *models, const struct tw_clock_model *each,
                        uint32_t count)
{
    if (count > TW_CLOCK_MODELS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        models->each[i] = each[i];
    models->count = count;
    return 0;
}

static const struct tw_clock_model *model_of(const struct tw_clock_models *models, uint32_t device)
{
    if (device == 0)
        return models->count == 1 ? &models->each[0] : NULL;
    for (uint32_t i = 0; i < models->count; i++) {
        if (models->each[i].interface == device)
            return &models->each[i];
    }
    return NULL;
}

uint64_t tw_clock_of_device(const struct tw_clock_models *models, uint32_t device,
                            uint64_t device_ns, uint64_t latest_ns)
{
    const struct tw_clock_model *model = model_of(models, device);
    uint64_t unix_ns;

    if (model == NULL || !tw_clock_convert(model, device_ns, &unix_ns))
        return 0;
    if (unix_ns > latest_ns + model->error_ns + LEAST_SLACK_NS ||
        unix_ns + LONGEST_LAG_NS < latest_ns)
        return 0;
    return unix_ns < latest_ns ? unix_ns : latest_ns; /* later by the error of the model alone */
}

uint64_t tw_clock_models_error_ns(const struct tw_clock_models *models)
{
    uint64_t most_ns = 0;

    for (uint32_t i = 0; i < models->count; i++) {
        if (models->each[i].error_ns > most_ns)
            most_ns = models->each[i].error_ns;
    }
    return most_ns;
}
