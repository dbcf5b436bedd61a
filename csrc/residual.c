/* residual.c: see residual.h. */
#include "residual.h"

#include <errno.h>
#include <string.h>

#define EVERY_NS    1000000u    /* a sample at most: two system calls more than without */
#define PATIENCE_NS 1000000000u /* a stamp that has not come by then is missed */
#define WINDOW      512u        /* samples */
#define MARGIN      4u          /* a quarter less than the least: who asks takes longer to leave */
#define MOST_NS     ((1u << 30) - 1)
#define FINE        32u /* buckets for each doubling, so they are 3 % wide */
#define FINE_BITS   5
#define MOST_STALE  8 /* stamps read in one go */

/* ---- the histogram */

static unsigned bucket_of(uint64_t ns)
{
    unsigned doublings;

    if (ns < FINE)
        return (unsigned)ns;
    if (ns > MOST_NS)
        ns = MOST_NS;
    doublings = 63u - (unsigned)__builtin_clzll(ns) - FINE_BITS;
    return (doublings + 1) * FINE + (unsigned)(ns >> doublings) - FINE;
}

static uint64_t end_of(unsigned bucket)
{
    const unsigned doublings = bucket < FINE ? 0 : bucket / FINE - 1;

    return bucket < FINE ? bucket : ((uint64_t)(bucket % FINE + FINE + 1) << doublings) - 1;
}

uint64_t tw_residuals_percentile(const struct tw_residuals *residuals, unsigned percent)
{
    const uint64_t wanted = (residuals->samples * percent + 99) / 100;
    uint64_t seen = 0;

    if (residuals->samples == 0)
        return 0;
    for (unsigned i = 0; i < TW_RESIDUAL_BUCKETS; i++) {
        seen += residuals->counts[i];
        if (seen >= wanted)
            return end_of(i);
    }
    return MOST_NS;
}

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
        sampler->waits_for = NULL;
        sampler->missed++;
    }
    tw_sampler_read(sampler, fd, departures); /* none of those before is taken for the new one */
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

static void take(struct tw_sampler *sampler, struct tw_departures *departures, uint32_t id,
                 uint64_t unix_ns)
{
    if (sampler->waits_for != departures || (departures->known && id != sampler->waits_for_id))
        return;
    departures->known = 1;
    departures->next_id = id + 1;
    sampler->waits_for = NULL;
    if (unix_ns < sampler->clock_ns || unix_ns - sampler->clock_ns > MOST_NS) {
        sampler->missed++; /* the clock was set in between */
        return;
    }
    sampler->sample_ns = unix_ns - sampler->clock_ns;
    sampler->sampled = 1;
}

void tw_sampler_read(struct tw_sampler *sampler, int fd, struct tw_departures *departures)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CONTROL_OCTETS];

    for (int i = 0; i < MOST_STALE; i++) {
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        uint32_t id;
        uint64_t unix_ns;

        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        if (tw_socket_read_departure(&message, &id, &unix_ns) > 0)
            take(sampler, departures, id, unix_ns);
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
    residuals->samples++;
    residuals->early += sampler->sample_ns < corrected;
    residuals
        ->counts[bucket_of(sampler->sample_ns < corrected ? 0 : sampler->sample_ns - corrected)]++;
    if (sampler->sample_ns > corrected && sampler->sample_ns - corrected > residuals->most_ns)
        residuals->most_ns = (uint32_t)(sampler->sample_ns - corrected);
    learn(sampler, sampler->sample_ns);
    residuals->correction_ns = sampler->correction_ns;
    return residuals->samples % WINDOW == 0;
}
