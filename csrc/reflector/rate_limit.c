/* admission.c: token buckets as virtual scheduling: no timer fills them, a packet only moves the
 * moment at which its client's bucket will be full again. */
#include "reflector/rate_limit.h"
#include "kernel/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BUCKETS       1024
#define BUCKETS_OF_SESSION  4
#define LEAST_BURST         16 /* packets */
#define BURSTS_OF_SECOND    10
#define SIGNIFICANT_OF_IPV6 8 /* octets: a host has a /64 of addresses to choose from */

int tw_admission_open(struct tw_admission *admission, uint32_t sessions, uint64_t seed)
{
    size_t buckets = LEAST_BUCKETS;

    while (buckets < BUCKETS_OF_SESSION * (size_t)sessions)
        buckets *= 2;
    *admission = (struct tw_admission){.mask = (uint32_t)(buckets - 1)};
    tw_index_secrets(seed, admission->secrets);
    admission->full_at = calloc(buckets, sizeof *admission->full_at);
    return admission->full_at == NULL ? -ENOMEM : 0;
}

void tw_admission_close(struct tw_admission *admission)
{
    tw_clients_close(admission->light_clients);
    free(admission->full_at);
    admission->full_at = NULL;
}

void tw_admission_set_rate(struct tw_admission *admission, uint32_t rate)
{
    const uint64_t burst =
        rate / BURSTS_OF_SECOND > LEAST_BURST ? rate / BURSTS_OF_SECOND : LEAST_BURST;

    admission->interval_ns = rate == 0 ? 0 : (TW_NS_PER_S + (uint64_t)rate - 1) / rate;
    admission->bucket_ns = burst * admission->interval_ns;
}

static uint64_t *bucket_of(const struct tw_admission *admission, const struct tw_endpoint *client)
{
    struct tw_endpoint host = *client;
    struct tw_index_key key;

    host.port = 0;
    if (host.ip_version == 6)
        memset(host.address + SIGNIFICANT_OF_IPV6, 0, sizeof host.address - SIGNIFICANT_OF_IPV6);
    key = tw_index_key(&host, host.scope_id);
    return &admission->full_at[tw_index_hash(admission->secrets, &key) & admission->mask];
}

int tw_admission_take(struct tw_admission *admission, const struct tw_endpoint *client,
                      uint64_t now_ns)
{
    uint64_t *bucket = bucket_of(admission, client);
    uint64_t full_at = *bucket;

    /* Emptier than empty: it is of another limit. */
    if (full_at < now_ns || full_at - now_ns > admission->bucket_ns)
        full_at = now_ns;
    if (full_at - now_ns + admission->interval_ns > admission->bucket_ns)
        return 0;
    *bucket = full_at + admission->interval_ns;
    return 1;
}
