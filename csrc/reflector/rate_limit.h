/* rate_limit.h: how many packets of each client are answered.  Memory alone, no system call, no
 * lock: the caller holds one; nothing is allocated after open. */
#pragma once
#include "reflector/client_list.h"
#include "reflector/index.h"

/* A token bucket of each client, kept as one number: the moment at which it will be full again.
 * Clients whose hashes meet share one. */
struct tw_rate_limit {
    uint64_t *full_at;    /* CLOCK_MONOTONIC ns; of the past: full */
    uint64_t interval_ns; /* in which one packet flows into a bucket; 0 = no limit */
    uint64_t bucket_ns;   /* in which an empty one fills */
    struct tw_client_list *light_clients; /* who may use light sessions */
    uint64_t secrets[2];
    uint32_t mask;
};

/* Whether it opens or not, it is to be closed. */
int tw_rate_limit_open(struct tw_rate_limit *rate_limit, uint32_t sessions, uint64_t seed);
void tw_rate_limit_close(struct tw_rate_limit *rate_limit);

/* Packets per second and client; 0 = no limit.  A bucket that the new limit could not have left as
 * it is counts as full. */
void tw_rate_limit_set(struct tw_rate_limit *rate_limit, uint32_t rate);

/* Takes a packet out of the client's bucket: 1, or 0 when there is none; while there is a limit. */
int tw_rate_limit_take(struct tw_rate_limit *rate_limit, const struct tw_endpoint *client,
                       uint64_t now_ns);
