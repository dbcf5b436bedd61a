/* clock_test.c: which kernel stamps are believed.  Prints each claim that does not hold. */
#include "claim.h"
#include "kernel/clock.h"

#define NOW 1700000000000000000u
#define OLD (10ull * TW_NS_PER_S)

int main(void)
{
    CLAIM(!tw_clock_believes(0, NOW));
    CLAIM(!tw_clock_believes(0, 0));
    CLAIM(!tw_clock_believes(0, 1)); /* zero is never a stamp, however near */
    CLAIM(tw_clock_believes(NOW, NOW));
    CLAIM(tw_clock_believes(NOW - 1, NOW));
    CLAIM(!tw_clock_believes(NOW + 1, NOW)); /* the clock was set back in between */
    CLAIM(!tw_clock_believes(UINT64_MAX, NOW));
    CLAIM(tw_clock_believes(NOW - OLD, NOW));
    CLAIM(!tw_clock_believes(NOW - OLD - 1, NOW));
    CLAIM(!tw_clock_believes(1, NOW));
    return failures != 0;
}
