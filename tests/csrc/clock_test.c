/* clock_test.c: the ways between Unix time and time on the wire.  Prints each claim that does not
 * hold. */
#include "claim.h"
#include "kernel/clock.h"

#define NOW    1700000000123456789u
#define ERA_NS (4294967296u * (uint64_t)TW_NS_PER_S)

static void the_way_back_is_exact(void)
{
    static const uint64_t tried[] = {0,       1,         999999999,           NOW,
                                     NOW + 1, NOW + 499, 2085978496999999999u};

    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++)
        CLAIM(tw_clock_unix(tw_clock_ntp(tried[i]), NOW) == tried[i]);
}

static void the_era_is_the_nearest(void)
{
    const uint64_t ntp = tw_clock_ntp(NOW);

    CLAIM(tw_clock_ntp(NOW + ERA_NS) == ntp);
    CLAIM(tw_clock_unix(ntp, NOW + ERA_NS) == NOW + ERA_NS);
    CLAIM(tw_clock_unix(ntp, NOW + ERA_NS / 4) == NOW);
    CLAIM(tw_clock_unix(ntp, NOW + 3 * (ERA_NS / 4)) == NOW + ERA_NS);
}

static void ptp_becomes_ntp(void)
{
    CLAIM(tw_clock_ntp_of_ptp(tw_clock_ptp(NOW)) == tw_clock_ntp(NOW));
    /* Of a broken peer: the nanoseconds of more than a second. */
    CLAIM(tw_clock_ntp_of_ptp(7ull << 32 | 3500000000u) ==
          tw_clock_ntp(10 * (uint64_t)TW_NS_PER_S + 500000000u));
}

int main(void)
{
    the_way_back_is_exact();
    the_era_is_the_nearest();
    ptp_becomes_ntp();
    return failures != 0;
}
