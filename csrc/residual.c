/* residual.c: see residual.h. */
#include "residual.h"

#include <errno.h>
#include <string.h>

#define EVERY_NS    1000000u    /* a sample at most: two system calls more than without */
#define PATIENCE_NS 1000000000u /* a stamp that has not come by then is missed */
#define WINDOW      512u        /* samples */
#define MARGIN      4u          /* a quarter less than the least: who asks takes longer to leave */
#define MOST_NS     ((1u << 30) - 1)
#define MOST_STALE  8 /* stamps read in one go */
#define ENOUGH      4 /* stamps missed in a row: the device gives none */

/* ---- what T3 is corrected by */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ns later than the clock that was read. */
static void learn(struct tw_sampler *sampler, uint64_t ns)
{
    if (sampler->samples % WINDOW == 0) {
        sampler->least_ns[1] = sampler->samples == 0 ? 0 : sampler->least_ns[0];
        sampler->least_ns[0] = UINT64_MAX;
    }
    sampler->samples++;
    sampler->least_ns[0] = smaller(sampler->least_ns[0], ns);
    if (!sampler->correct)
        return;
    ns = smaller(sampler->least_ns[0], sampler->least_ns[1]); /* 0 until the first window is full */
    sampler->correction_ns = (uint32_t)(smaller(ns, MOST_NS) - smaller(ns, MOST_NS) / MARGIN);
}

/* ---- samples */

/* One that stamps what leaves, if its clock is known, knows best. */
static uint32_t best_source(const struct tw_sampler *sampler)
{
    const struct tw_clock_models *models = sampler->models;

    if (models != NULL && models->count == 1 && models->each[0].transmits && !sampler->deserted)
        return TW_SOURCE_HARDWARE;
    return TW_SOURCE_KERNEL;
}

static void miss(struct tw_sampler *sampler)
{
    sampler->waits_for = NULL;
    sampler->missed++;
    if (++sampler->missed_in_a_row >= ENOUGH && sampler->source == TW_SOURCE_HARDWARE)
        sampler->deserted = 1;
}

int tw_sampler_choose(struct tw_sampler *sampler, int fd, struct tw_departures *departures,
                      int count, uint64_t now_ns)
{
    if (sampler->off)
        return -1;
    if (sampler->due_ns > now_ns + PATIENCE_NS)
        sampler->due_ns = now_ns; /* the clock has been set back */
    if (now_ns < sampler->due_ns)
        return -1;
    if (sampler->waits_for != NULL) {
        if (now_ns < sampler->due_ns + PATIENCE_NS)
            return -1;
        miss(sampler);
    }
    tw_sampler_read(sampler, fd, departures); /* none of those before is taken for the new one */
    sampler->source = best_source(sampler);
    sampler->random = sampler->random * 1664525u + 1013904223u;
    return (int)((uint64_t)sampler->random * (unsigned)count >> 32);
}

void tw_sampler_sent(struct tw_sampler *sampler, int fd, struct tw_departures *departures,
                     uint64_t clock_ns)
{
    sampler->due_ns = clock_ns + EVERY_NS;
    sampler->clock_ns = clock_ns;
    sampler->waits_for = departures;
    sampler->waits_for_id = departures->next_id++;
    tw_sampler_read(sampler, fd, departures);
}

/* Unix ns; 0 when the device's clock cannot be told. */
static uint64_t time_of(const struct tw_sampler *sampler, const struct tw_departure *departure)
{
    if (sampler->source != TW_SOURCE_HARDWARE)
        return departure->kernel_ns;
    return tw_clock_of_device(sampler->models, 0, departure->hardware_ns, tw_clock_unix_ns());
}

static void take(struct tw_sampler *sampler, struct tw_departures *departures,
                 const struct tw_departure *departure)
{
    uint64_t unix_ns;

    if (sampler->waits_for != departures ||
        (departures->known && departure->id != sampler->waits_for_id))
        return;
    departures->known = 1;
    departures->next_id = departure->id + 1;
    unix_ns = time_of(sampler, departure);
    if (unix_ns < sampler->clock_ns || unix_ns - sampler->clock_ns > MOST_NS) {
        miss(sampler); /* the clock was set in between */
        return;
    }
    sampler->waits_for = NULL;
    sampler->missed_in_a_row = 0;
    sampler->sample_ns = unix_ns - sampler->clock_ns;
    sampler->sampled = 1;
}

void tw_sampler_read(struct tw_sampler *sampler, int fd, struct tw_departures *departures)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CONTROL_OCTETS];

    for (int i = 0; i < MOST_STALE; i++) {
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        struct tw_departure departure;

        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        if (tw_socket_read_departure(&message, &departure))
            take(sampler, departures, &departure);
    }
}

int tw_sampler_post(struct tw_sampler *sampler, struct tw_residuals *residuals)
{
    const uint64_t corrected = sampler->correction_ns;

    residuals->missed += sampler->missed;
    sampler->missed = 0;
    if (!sampler->sampled)
        return 0;
    sampler->sampled = 0;
    if (residuals->source != sampler->source) { /* what another one told is of another truth */
        residuals->error = (struct tw_histogram){0};
        residuals->early = 0;
        residuals->source = sampler->source;
    }
    residuals->early += sampler->sample_ns < corrected;
    tw_histogram_add(&residuals->error,
                     sampler->sample_ns < corrected ? 0 : sampler->sample_ns - corrected);
    learn(sampler, sampler->sample_ns);
    residuals->correction_ns = sampler->correction_ns;
    return residuals->error.samples % WINDOW == 0;
}
