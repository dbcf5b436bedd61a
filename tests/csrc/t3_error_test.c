/* t3_error_test.c: the histogram of errors, with samples of the test's choice.  Prints each claim
 * that does not hold. */
#include "reflector/t3_error.h" /* first: it asks for _GNU_SOURCE */
#include "claim.h"

#include <string.h>

static void sample(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats, uint64_t ns)
{
    t3_error->departed_ns = ns;
    t3_error->told = TW_TRANSMIT_KERNEL;
    tw_t3_error_post(t3_error, stats);
}

static void every_value_is_told_within_3_percent(void)
{
    static const uint64_t tried[] = {
        0, 1, 31, 32, 33, 63, 64, 65, 1000, 4095, 65537, 999999, 1000000, 123456789, (1 << 30) - 1};

    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        struct tw_t3_error t3_error = {0};
        struct tw_t3_error_stats stats = {0};
        uint64_t told;

        sample(&t3_error, &stats, tried[i]);
        told = tw_histogram_percentile(&stats.error, 50);
        CLAIM(told >= tried[i]);
        CLAIM(told <= tried[i] + tried[i] / 32);
        CLAIM(stats.error.most_ns == tried[i]);
    }
}

static void percentiles_are_nearest_ranks(void)
{
    struct tw_t3_error t3_error = {0};
    struct tw_t3_error_stats stats = {0};

    CLAIM(tw_histogram_percentile(&stats.error, 99) == 0);
    for (uint64_t ns = 1; ns <= 30; ns++)
        sample(&t3_error, &stats, ns);
    CLAIM(tw_histogram_percentile(&stats.error, 0) == 0);
    CLAIM(tw_histogram_percentile(&stats.error, 50) == 15);
    CLAIM(tw_histogram_percentile(&stats.error, 99) == 30);
    CLAIM(tw_histogram_percentile(&stats.error, 100) == 30);
    CLAIM(stats.error.samples == 30);
}

static void a_departure_does_not_teach(void)
{
    struct tw_t3_error t3_error = {.correct = 1};
    struct tw_t3_error_stats stats = {0};

    tw_t3_correction_start(&t3_error.correction, 0);
    for (int i = 0; i < 2000; i++)
        sample(&t3_error, &stats, 1000);
    CLAIM(stats.error.samples == 2000);
    CLAIM(t3_error.correction.states[0].samples == 0);
}

static void a_reply_that_is_ready_teaches_and_is_no_departure(void)
{
    struct tw_t3_error t3_error = {.correct = 1, .asked_state = TW_T3_IDLE, .queued_ns = 1000};
    struct tw_t3_error_stats stats = {0};

    tw_t3_correction_start(&t3_error.correction, 0);
    t3_error.told = TW_TRANSMIT_QUEUED;
    CLAIM(tw_t3_error_post(&t3_error, &stats) == 0);
    CLAIM(t3_error.correction.states[TW_T3_IDLE].samples == 1);
    CLAIM(stats.error.samples == 0);
    CLAIM(t3_error.told == 0);
}

static void what_is_corrected_is_what_is_told(void)
{
    struct tw_t3_error t3_error = {.corrected_ns = 600};
    struct tw_t3_error_stats stats = {0};

    sample(&t3_error, &stats, 1000);
    CLAIM(stats.error.most_ns == 400);
    CLAIM(tw_histogram_percentile(&stats.error, 100) >= 400);
    CLAIM(tw_histogram_percentile(&stats.error, 100) <= 412);
    CLAIM(stats.early == 0);
    sample(&t3_error, &stats, 599);
    CLAIM(stats.early == 1);
}

static void the_last_bucket_is_the_last(void)
{
    struct tw_t3_error t3_error = {0};
    struct tw_t3_error_stats stats = {0};

    sample(&t3_error, &stats, UINT32_MAX);
    CLAIM(stats.error.counts[TW_HISTOGRAM_BUCKETS - 1] == 1);
}

int main(void)
{
    every_value_is_told_within_3_percent();
    percentiles_are_nearest_ranks();
    a_departure_does_not_teach();
    a_reply_that_is_ready_teaches_and_is_no_departure();
    what_is_corrected_is_what_is_told();
    the_last_bucket_is_the_last();
    return failures != 0;
}
