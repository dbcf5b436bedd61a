/* rate_limit.c: token buckets as virtual scheduling: no timer fills them, a packet only moves the
 * moment at which its client's bucket will be full again. */
#include "reflector/rate_limit.h"
#include "kernel/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BUCKETS       1024
#define BUCKETS_OF_SESSION  4
#define LEAST_BURST         16 /* packets */
#define BURSTS_OF_SECOND    10
#define SIGNIFICANT_OF_IPV6 8 /* octets: a host has a /64 of addresses to choose from */

int tw_rate_limit_open(struct tw_rate_limit *rate_limit, uint32_t sessions, uint64_t seed)
{
    size_t buckets = LEAST_BUCKETS;

    while (buckets < BUCKETS_OF_SESSION * (size_t)sessions)
        buckets *= 2;
    *rate_limit = (struct tw_rate_limit){.mask = (uint32_t)(buckets - 1)};
    tw_index_secrets(seed, rate_limit->secrets);
    rate_limit->full_at = calloc(buckets, sizeof *rate_limit->full_at);
    return rate_limit->full_at == NULL ? -ENOMEM : 0;
}

void tw_rate_limit_close(struct tw_rate_limit *rate_limit)
{
    free(rate_limit->full_at);
    rate_limit->full_at = NULL;
}

struct tw_rate tw_rate_limit_of(uint32_t packets_per_second)
{
    const uint64_t rate = packets_per_second;
    const uint64_t burst =
        rate / BURSTS_OF_SECOND > LEAST_BURST ? rate / BURSTS_OF_SECOND : LEAST_BURST;
    const uint64_t interval_ns = rate == 0 ? 0 : (TW_NS_PER_S + rate - 1) / rate;

    return (struct tw_rate){.interval_ns = interval_ns, .bucket_ns = burst * interval_ns};
}

void tw_rate_limit_set(struct tw_rate_limit *rate_limit, uint32_t rate)
{
    rate_limit->rate = tw_rate_limit_of(rate);
}

static uint64_t *bucket_of(const struct tw_rate_limit *rate_limit, const struct tw_endpoint *client)
{
    struct tw_endpoint host = *client;
    struct tw_index_key key;

    host.port = 0;
    if (host.ip_version == 6)
        memset(host.address + SIGNIFICANT_OF_IPV6, 0, sizeof host.address - SIGNIFICANT_OF_IPV6);
    key = tw_index_key(&host, host.scope_id);
    return &rate_limit->full_at[tw_index_hash(rate_limit->secrets, &key) & rate_limit->mask];
}

int tw_rate_limit_take_from(const struct tw_rate *rate, uint64_t *full_at, uint64_t now_ns)
{
    uint64_t full_ns = *full_at;

    if (rate->interval_ns == 0)
        return 1;
    /* Emptier than empty: it is of another limit. */
    if (full_ns < now_ns || full_ns - now_ns > rate->bucket_ns)
        full_ns = now_ns;
    if (full_ns - now_ns + rate->interval_ns > rate->bucket_ns)
        return 0;
    *full_at = full_ns + rate->interval_ns;
    return 1;
}

int tw_rate_limit_take(struct tw_rate_limit *rate_limit, const struct tw_endpoint *client,
                       uint64_t now_ns)
{
    if (rate_limit->rate.interval_ns == 0)
        return 1;
    return tw_rate_limit_take_from(&rate_limit->rate, bucket_of(rate_limit, client), now_ns);
}
