/* rate_limit.h: how many packets of each client are answered.  Memory alone, no system call, no
 * lock: the caller holds one; nothing is allocated after open. */
#pragma once
#include "reflector/index.h"

/* A rate: a tenth of a second's worth, and 16 packets in any case, may come at once. */
struct tw_rate {
    uint64_t interval_ns; /* in which one packet flows into a bucket; 0 = no limit */
    uint64_t bucket_ns;   /* in which an empty one fills */
};

struct tw_rate tw_rate_limit_of(uint32_t packets_per_second); /* 0 = no limit */

/* Takes a packet out of a bucket: 1, or 0 when there is none.  It is kept as the moment at which it
 * will be full again (CLOCK_MONOTONIC, of the past: full). */
int tw_rate_limit_take_from(const struct tw_rate *rate, uint64_t *full_at, uint64_t now_ns);

/* A token bucket of each client, kept as one number: the moment at which it will be full again.
 * Clients whose hashes meet share one. */
struct tw_rate_limit {
    uint64_t *full_at; /* CLOCK_MONOTONIC ns; of the past: full */
    struct tw_rate rate;
    uint64_t secrets[2];
    uint32_t mask;
};

/* Whether it opens or not, it is to be closed. */
int tw_rate_limit_open(struct tw_rate_limit *rate_limit, uint32_t sessions, uint64_t seed);
void tw_rate_limit_close(struct tw_rate_limit *rate_limit);

/* Packets per second and client; 0 = no limit.  A bucket that the new limit could not have left as
 * it is counts as full. */
void tw_rate_limit_set(struct tw_rate_limit *rate_limit, uint32_t rate);

/* Takes a packet out of the client's bucket: 1, or 0 when there is none. */
int tw_rate_limit_take(struct tw_rate_limit *rate_limit, const struct tw_endpoint *client,
                       uint64_t now_ns);
