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
    tw_client_list_close(rate_limit->light_clients);
    free(rate_limit->full_at);
    rate_limit->full_at = NULL;
}

void tw_rate_limit_set(struct tw_rate_limit *rate_limit, uint32_t rate)
{
    const uint64_t burst =
        rate / BURSTS_OF_SECOND > LEAST_BURST ? rate / BURSTS_OF_SECOND : LEAST_BURST;

    rate_limit->interval_ns = rate == 0 ? 0 : (TW_NS_PER_S + (uint64_t)rate - 1) / rate;
    rate_limit->bucket_ns = burst * rate_limit->interval_ns;
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

int tw_rate_limit_take(struct tw_rate_limit *rate_limit, const struct tw_endpoint *client,
                       uint64_t now_ns)
{
    uint64_t *bucket = bucket_of(rate_limit, client);
    uint64_t full_at = *bucket;

    /* Emptier than empty: it is of another limit. */
    if (full_at < now_ns || full_at - now_ns > rate_limit->bucket_ns)
        full_at = now_ns;
    if (full_at - now_ns + rate_limit->interval_ns > rate_limit->bucket_ns)
        return 0;
    *bucket = full_at + rate_limit->interval_ns;
    return 1;
}
