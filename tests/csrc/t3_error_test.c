/* residual_test.c: the histogram of residuals, and what T3 is corrected by, with samples of the
 * test's choice.  Prints each claim that does not hold. */
#include "claim.h"
#include "reflector/t3_error.h"

#include <string.h>

#define WINDOW 512

static void sample(struct tw_sampler *sampler, struct tw_residuals *residuals, uint64_t ns)
{
    sampler->sample_ns = ns;
    sampler->sampled = 1;
    tw_sampler_post(sampler, residuals);
}

static void every_value_is_told_within_3_percent(void)
{
    static const uint64_t tried[] = {
        0, 1, 31, 32, 33, 63, 64, 65, 1000, 4095, 65537, 999999, 1000000, 123456789, (1 << 30) - 1};

    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        struct tw_sampler sampler = {0};
        struct tw_residuals residuals = {0};
        uint64_t told;

        sample(&sampler, &residuals, tried[i]);
        told = tw_histogram_percentile(&residuals.error, 50);
        CLAIM(told >= tried[i]);
        CLAIM(told <= tried[i] + tried[i] / 32);
        CLAIM(residuals.error.most_ns == tried[i]);
    }
}

static void percentiles_are_nearest_ranks(void)
{
    struct tw_sampler sampler = {0};
    struct tw_residuals residuals = {0};

    CLAIM(tw_histogram_percentile(&residuals.error, 99) == 0);
    for (uint64_t ns = 1; ns <= 30; ns++)
        sample(&sampler, &residuals, ns);
    CLAIM(tw_histogram_percentile(&residuals.error, 0) == 0);
    CLAIM(tw_histogram_percentile(&residuals.error, 50) == 15);
    CLAIM(tw_histogram_percentile(&residuals.error, 99) == 30);
    CLAIM(tw_histogram_percentile(&residuals.error, 100) == 30);
    CLAIM(residuals.error.samples == 30);
}

static void without_a_wish_nothing_is_corrected(void)
{
    struct tw_sampler sampler = {0};
    struct tw_residuals residuals = {0};

    for (int i = 0; i < 3 * WINDOW; i++)
        sample(&sampler, &residuals, 1000);
    CLAIM(sampler.correction_ns == 0);
    CLAIM(residuals.correction_ns == 0);
}

static void the_correction_follows_the_least(void)
{
    struct tw_sampler sampler = {.correct = 1};
    struct tw_residuals residuals = {0};

    for (int i = 0; i < WINDOW; i++)
        sample(&sampler, &residuals, i == 7 ? 1000 : 2000);
    CLAIM(sampler.correction_ns == 0); /* not before a window is full */
    sample(&sampler, &residuals, 2000);
    CLAIM(sampler.correction_ns == 875);
    CLAIM(residuals.correction_ns == 875);
    sample(&sampler, &residuals, 400); /* at once, when something leaves sooner */
    CLAIM(residuals.early == 1);
    CLAIM(sampler.correction_ns == 350);
    for (int i = 0; i < 3 * WINDOW; i++)
        sample(&sampler, &residuals, 4000);
    CLAIM(sampler.correction_ns == 3500); /* and later, when nothing does any more */
    CLAIM(residuals.early == 1);
}

static void what_is_corrected_is_what_is_told(void)
{
    struct tw_sampler sampler = {.correction_ns = 600};
    struct tw_residuals residuals = {0};

    sample(&sampler, &residuals, 1000);
    CLAIM(residuals.error.most_ns == 400);
    CLAIM(tw_histogram_percentile(&residuals.error, 100) >= 400);
    CLAIM(tw_histogram_percentile(&residuals.error, 100) <= 412);
}

static void the_last_bucket_is_the_last(void)
{
    struct tw_sampler sampler = {0};
    struct tw_residuals residuals = {0};

    sample(&sampler, &residuals, UINT32_MAX);
    CLAIM(residuals.error.counts[TW_HISTOGRAM_BUCKETS - 1] == 1);
}

int main(void)
{
    every_value_is_told_within_3_percent();
    percentiles_are_nearest_ranks();
    without_a_wish_nothing_is_corrected();
    the_correction_follows_the_least();
    what_is_corrected_is_what_is_told();
    the_last_bucket_is_the_last();
    return failures != 0;
}
