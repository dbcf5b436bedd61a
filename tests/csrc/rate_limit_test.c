/* admission_test.c: the buckets of clients, at moments that the test chooses.  Prints each claim
 * that does not hold. */
#include "reflector/rate_limit.h"
#include "claim.h"

#define SECOND 1000000000u
#define START  (5ull * SECOND)

static struct tw_rate_limit rate_limit;

static struct tw_endpoint ipv4(uint8_t last)
{
    return (struct tw_endpoint){.address = {192, 0, 2, last}, .port = 1000, .ip_version = 4};
}

static struct tw_endpoint ipv6(uint8_t network, uint8_t host)
{
    return (struct tw_endpoint){
        .address = {0x20, 1, [7] = network, [15] = host}, .port = 1000, .ip_version = 6};
}

/* How many of so many packets at once are admitted. */
static uint32_t burst(struct tw_endpoint client, uint64_t now_ns, uint32_t packets)
{
    uint32_t admitted = 0;

    for (uint32_t i = 0; i < packets; i++)
        admitted += (uint32_t)tw_rate_limit_take(&rate_limit, &client, now_ns);
    return admitted;
}

static void open_at(uint32_t rate)
{
    CLAIM(tw_rate_limit_open(&rate_limit, 1, 42) == 0);
    tw_rate_limit_set(&rate_limit, rate);
}

static void a_bucket_is_a_tenth_of_a_second_or_16_packets(void)
{
    static const uint32_t rates[][2] = {{1, 16},   {16, 16},    {160, 16}, {169, 16},
                                        {170, 17}, {1000, 100}, {333, 33}, {1000000, 100000}};

    for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
        open_at(rates[i][0]);
        CLAIM(burst(ipv4(1), START, 3 * rates[i][1]) == rates[i][1]);
        /* A long silence does not make it any larger. */
        CLAIM(burst(ipv4(1), START + 3600ull * SECOND, 3 * rates[i][1]) == rates[i][1]);
        tw_rate_limit_close(&rate_limit);
    }
}

static void it_fills_at_the_rate(void)
{
    uint32_t admitted;

    open_at(100);
    CLAIM(burst(ipv4(1), START, 20) == 16);
    CLAIM(burst(ipv4(1), START + SECOND / 100 - 1, 1) == 0);
    CLAIM(burst(ipv4(1), START + SECOND / 100, 2) == 1);
    CLAIM(burst(ipv4(1), START + SECOND / 100 + 50000000, 20) == 5);
    tw_rate_limit_close(&rate_limit);
    open_at(100);
    admitted = 0;
    for (uint64_t ms = 0; ms < 10000; ms++)
        admitted += burst(ipv4(1), START + ms * 1000000, 1);
    CLAIM(admitted == 16 + 999);
    tw_rate_limit_close(&rate_limit);
}

static void exactly_the_rate_is_never_refused(void)
{
    open_at(1000);
    for (uint64_t ms = 0; ms < 10000; ms++)
        CLAIM(burst(ipv4(1), START + ms * 1000000, 1) == 1);
    tw_rate_limit_close(&rate_limit);
}

static void a_client_is_an_address_or_a_64_of_ipv6(void)
{
    struct tw_endpoint other_port = ipv4(1);

    other_port.port = 2000;
    open_at(1);
    CLAIM(burst(ipv4(1), START, 20) == 16);
    CLAIM(burst(other_port, START, 20) == 0);
    CLAIM(burst(ipv4(2), START, 20) == 16);
    CLAIM(burst(ipv6(1, 1), START, 10) == 10);
    CLAIM(burst(ipv6(1, 2), START, 10) == 6);
    CLAIM(burst(ipv6(2, 1), START, 20) == 16);
    tw_rate_limit_close(&rate_limit);
}

static void a_change_takes_effect_at_once(void)
{
    open_at(1);
    CLAIM(burst(ipv4(1), START, 20) == 16);
    tw_rate_limit_set(&rate_limit, 1000); /* it was not that limit that emptied the bucket */
    CLAIM(burst(ipv4(1), START, 200) == 100);
    tw_rate_limit_set(&rate_limit, 2000); /* this one would have left it half full */
    CLAIM(burst(ipv4(1), START, 400) == 0);
    tw_rate_limit_set(&rate_limit, 10);
    CLAIM(burst(ipv4(1), START, 20) == 15);
    tw_rate_limit_set(&rate_limit, 0);
    CLAIM(rate_limit.rate.interval_ns == 0);
    tw_rate_limit_close(&rate_limit);
}

static void extremes_are_limits_too(void)
{
    open_at(UINT32_MAX);
    CLAIM(rate_limit.rate.interval_ns == 1);
    CLAIM(burst(ipv4(1), START, 1000) == 1000);
    tw_rate_limit_close(&rate_limit);
    open_at(1);
    CLAIM(burst(ipv4(1), 0, 20) == 16); /* at boot */
    tw_rate_limit_close(&rate_limit);
}

static void there_are_four_buckets_a_session(void)
{
    static const uint32_t sizes[][2] = {
        {1, 1024}, {256, 1024}, {257, 2048}, {1024, 4096}, {65536, 262144}};

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CLAIM(tw_rate_limit_open(&rate_limit, sizes[i][0], 1) == 0);
        CLAIM(rate_limit.mask == sizes[i][1] - 1);
        tw_rate_limit_close(&rate_limit);
    }
}

int main(void)
{
    a_bucket_is_a_tenth_of_a_second_or_16_packets();
    it_fills_at_the_rate();
    exactly_the_rate_is_never_refused();
    a_client_is_an_address_or_a_64_of_ipv6();
    a_change_takes_effect_at_once();
    extremes_are_limits_too();
    there_are_four_buckets_a_session();
    return failures != 0;
}
