/* clock.c: the system clock, its form on the wire, and how far it may be off. */
#include "kernel/clock.h"

#include <sys/timex.h>
#include <time.h>

#define NTP_OF_UNIX_EPOCH  2208988800u           /* 1900 to 1970 */
#define UNSYNCHRONISED_NS  (16ull * TW_NS_PER_S) /* the kernel's own word for "no idea" */
#define LEAP_SECOND_NS     ((uint64_t)TW_NS_PER_S)
#define SYNCHRONISED_BIT   0x8000u
#define LARGEST_MULTIPLIER 255u
#define LARGEST_SCALE      63u

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * TW_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t tw_clock_unix_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

uint64_t tw_clock_monotonic_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t tw_clock_ntp(uint64_t unix_ns)
{
    const uint64_t seconds = unix_ns / TW_NS_PER_S + NTP_OF_UNIX_EPOCH; /* era: shifted out */
    const uint64_t fraction = ((unix_ns % TW_NS_PER_S) << 32) / TW_NS_PER_S;

    return seconds << 32 | fraction;
}

uint64_t tw_clock_unix(uint64_t ntp, uint64_t near_ns)
{
    const uint32_t near_s = (uint32_t)(near_ns / TW_NS_PER_S);
    const int32_t later_s = (int32_t)((uint32_t)(ntp >> 32) - NTP_OF_UNIX_EPOCH - near_s);
    const uint64_t fraction_ns = ((ntp & UINT32_MAX) * TW_NS_PER_S + UINT32_MAX) >> 32;

    return (near_ns / TW_NS_PER_S + (uint64_t)(int64_t)later_s) * TW_NS_PER_S + fraction_ns;
}

uint64_t tw_clock_ntp_of_ptp(uint64_t ptp)
{
    const uint64_t seconds = (ptp >> 32) + NTP_OF_UNIX_EPOCH;

    return (seconds << 32) + ((ptp & UINT32_MAX) << 32) / TW_NS_PER_S;
}

uint64_t tw_clock_ptp(uint64_t unix_ns)
{
    return unix_ns / TW_NS_PER_S << 32 | unix_ns % TW_NS_PER_S;
}

uint16_t tw_clock_encode_error(uint64_t error_ns, int synchronised)
{
    /* In units of 2^-32 s, rounded up; a whole uint64_t of ns takes 67 bits. */
    unsigned __int128 multiplier =
        (((unsigned __int128)error_ns << 32) + TW_NS_PER_S - 1) / TW_NS_PER_S;
    unsigned scale = 0;

    while (multiplier > LARGEST_MULTIPLIER && scale < LARGEST_SCALE) {
        multiplier = (multiplier + 1) / 2; /* rounding up again and again is rounding up once */
        scale++;
    }
    if (multiplier == 0)
        multiplier = 1; /* RFC 4656 section 4.1.2: MUST NOT be zero */
    return (uint16_t)((synchronised ? SYNCHRONISED_BIT : 0) | scale << 8 | (unsigned)multiplier);
}

uint16_t tw_clock_error_estimate(uint64_t least_ns)
{
    struct timex kernel = {.modes = 0};
    const int state = adjtimex(&kernel);
    const int synchronised = state >= 0 && state != TIME_ERROR && !(kernel.status & STA_UNSYNC);
    uint64_t error_ns = 0;

    if (state >= 0 && kernel.maxerror > 0)
        error_ns = (uint64_t)kernel.maxerror * 1000u;
    if (!synchronised && error_ns < UNSYNCHRONISED_NS)
        error_ns = UNSYNCHRONISED_NS;
    if (state == TIME_OOP && error_ns < LEAP_SECOND_NS)
        error_ns = LEAP_SECOND_NS; /* the same second goes by twice */
    if (error_ns < least_ns)
        error_ns = least_ns;
    return tw_clock_encode_error(error_ns, synchronised);
}
