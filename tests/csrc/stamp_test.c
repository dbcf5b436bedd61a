/* stamp_test.c: which stamps of a packet are believed, at the last nanosecond of each limit. Prints
 * each claim that does not hold. */
#include "claim.h"
#include "kernel/clock.h"
#include "kernel/stamp.h"

#define NOW      1700000000000000000u
#define US       1000u
#define MS       1000000u
#define S        ((uint64_t)TW_NS_PER_S)
#define AHEAD_NS (37 * S) /* of the device's clock */
#define ERROR_NS 500u     /* of its model */
#define DEVICE   9

static const struct tw_clock_models known = {
    .each =
        {{.device_ns = NOW + AHEAD_NS, .unix_ns = NOW, .error_ns = ERROR_NS, .interface = DEVICE}},
    .count = 1,
};

/* What is made of stamps that were read at NOW, beginning with *stamp; how many were refused. */
static uint32_t choose(struct tw_stamp *stamp, struct tw_raw_stamps raw, enum tw_passage passage)
{
    return tw_stamp_choose(stamp, &raw, &known, NOW, passage);
}

static int is(const struct tw_stamp *stamp, uint64_t ns, enum tw_source source)
{
    return stamp->ns == ns && stamp->source == source &&
           stamp->error_ns == (source == TW_SOURCE_HARDWARE ? ERROR_NS : 0);
}

/* ---- arrivals: the program read the clock at NOW, after them */

static void arrives(struct tw_raw_stamps raw, uint32_t refused, uint64_t ns, enum tw_source source)
{
    struct tw_stamp stamp = {.ns = NOW, .source = TW_SOURCE_USER};

    CLAIM(choose(&stamp, raw, TW_PASSAGE_ARRIVAL) == refused);
    CLAIM(is(&stamp, ns, source));
}

static void arrives_by_kernel(uint64_t ns, int believed)
{
    const struct tw_raw_stamps raw = {.kernel_ns = ns};

    arrives(raw, !believed, believed ? ns : NOW, believed ? TW_SOURCE_KERNEL : TW_SOURCE_USER);
}

static void arrives_by_device(uint64_t kernel_ns, uint64_t unix_ns, uint64_t expected_ns)
{
    const struct tw_raw_stamps raw = {
        .kernel_ns = kernel_ns, .hardware_ns = unix_ns + AHEAD_NS, .device = DEVICE};

    arrives(raw, 0, expected_ns, TW_SOURCE_HARDWARE);
}

static void without_stamps_the_clock_serves(void)
{
    arrives((struct tw_raw_stamps){0}, 0, NOW, TW_SOURCE_USER);
    arrives((struct tw_raw_stamps){.device = DEVICE}, 0, NOW, TW_SOURCE_USER);
}

static void the_kernels_stamp_is_not_of_the_future_nor_old(void)
{
    arrives_by_kernel(NOW, 1);
    arrives_by_kernel(NOW - 1, 1);
    arrives_by_kernel(NOW + 1, 0); /* the clock was set back in between */
    arrives_by_kernel(UINT64_MAX, 0);
    arrives_by_kernel(NOW - 13 * S, 1); /* the program was stopped meanwhile */
    arrives_by_kernel(NOW - 3600 * S, 1);
    arrives_by_kernel(NOW - 3600 * S - 1, 0);
    arrives_by_kernel(1, 0);
}

static void the_devices_stamp_is_shortly_before_the_kernels(void)
{
    const uint64_t kernel_ns = NOW - 2 * S; /* it lay in the buffer meanwhile */
    const struct tw_raw_stamps stale = {.kernel_ns = kernel_ns,
                                        .hardware_ns = kernel_ns + AHEAD_NS - 100 * MS - 1};
    const struct tw_raw_stamps future = {.kernel_ns = kernel_ns,
                                         .hardware_ns = kernel_ns + AHEAD_NS + ERROR_NS + US + 1};
    const struct tw_raw_stamps both = {.kernel_ns = NOW + 1, .hardware_ns = NOW + AHEAD_NS + S};

    arrives_by_device(kernel_ns, kernel_ns - 20 * US, kernel_ns - 20 * US);
    arrives_by_device(kernel_ns, kernel_ns - 100 * MS, kernel_ns - 100 * MS);
    arrives_by_device(kernel_ns, kernel_ns + ERROR_NS + US, kernel_ns); /* by its error alone */
    arrives(stale, 1, kernel_ns, TW_SOURCE_KERNEL);
    arrives(future, 1, kernel_ns, TW_SOURCE_KERNEL);
    arrives(both, 2, NOW, TW_SOURCE_USER);
}

static void without_the_kernels_the_devices_is_measured_by_the_clock(void)
{
    const struct tw_raw_stamps doubtful = {.kernel_ns = NOW + 1, .hardware_ns = NOW + AHEAD_NS - 1};

    arrives_by_device(0, NOW - 50 * MS, NOW - 50 * MS);
    arrives(doubtful, 1, NOW - 1, TW_SOURCE_HARDWARE);
}

static void a_device_without_a_model_is_not_believed(void)
{
    static const struct tw_clock_models none = {.count = 0};
    const struct tw_raw_stamps other = {.hardware_ns = NOW + AHEAD_NS, .device = DEVICE + 1};
    const struct tw_raw_stamps only = {.hardware_ns = NOW + AHEAD_NS - 1};
    struct tw_stamp stamp = {.ns = NOW, .source = TW_SOURCE_USER};

    arrives(other, 1, NOW, TW_SOURCE_USER);
    arrives(only, 0, NOW - 1, TW_SOURCE_HARDWARE); /* not said which; there is but one */
    CLAIM(tw_stamp_choose(&stamp, &only, &none, NOW, TW_PASSAGE_ARRIVAL) == 1);
    CLAIM(is(&stamp, NOW, TW_SOURCE_USER));
}

/* ---- departures: the program read the clock at SENT, before them */

#define SENT (NOW - 40 * MS)

static void leaves(struct tw_raw_stamps raw, uint32_t refused, uint64_t ns, enum tw_source source)
{
    struct tw_stamp stamp = {.ns = SENT, .source = TW_SOURCE_USER};

    CLAIM(choose(&stamp, raw, TW_PASSAGE_DEPARTURE) == refused);
    CLAIM(is(&stamp, ns, source));
}

static void leaves_by_kernel(uint64_t ns, int believed)
{
    const struct tw_raw_stamps raw = {.kernel_ns = ns};

    leaves(raw, !believed, believed ? ns : SENT, believed ? TW_SOURCE_KERNEL : TW_SOURCE_USER);
}

static void leaves_by_device(uint64_t ns, int believed)
{
    const struct tw_raw_stamps raw = {.hardware_ns = ns + AHEAD_NS};

    leaves(raw, !believed, believed ? ns : SENT, believed ? TW_SOURCE_HARDWARE : TW_SOURCE_USER);
}

static void no_packet_leaves_before_it_was_sent(void)
{
    leaves_by_kernel(SENT, 1);
    leaves_by_kernel(SENT - US, 1);
    leaves_by_kernel(SENT - US - 1, 0);
    leaves_by_kernel(SENT + 10 * S, 1); /* later than NOW: the clock was set back in between */
    leaves_by_kernel(SENT + 10 * S + 1, 0);
    leaves_by_device(SENT - 100 * US - ERROR_NS, 1);
    leaves_by_device(SENT - 100 * US - ERROR_NS - 1, 0);
}

static void the_devices_stamp_is_shortly_before_it_was_read(void)
{
    struct tw_stamp early = {.ns = NOW - 200 * MS, .source = TW_SOURCE_USER};

    leaves_by_device(NOW, 1);
    leaves_by_device(NOW + ERROR_NS + US + 1, 0);
    leaves((struct tw_raw_stamps){.hardware_ns = NOW + AHEAD_NS + US}, 0, NOW, TW_SOURCE_HARDWARE);
    CLAIM(choose(&early, (struct tw_raw_stamps){.hardware_ns = NOW + AHEAD_NS - 100 * MS - 1},
                 TW_PASSAGE_DEPARTURE) == 1);
    CLAIM(is(&early, NOW - 200 * MS, TW_SOURCE_USER));
}

static void a_better_source_replaces_a_worse_one_and_no_other(void)
{
    struct tw_stamp stamp = {.ns = SENT, .source = TW_SOURCE_USER};

    CLAIM(choose(&stamp, (struct tw_raw_stamps){.hardware_ns = SENT + AHEAD_NS + 4 * US},
                 TW_PASSAGE_DEPARTURE) == 0);
    CLAIM(choose(&stamp, (struct tw_raw_stamps){.kernel_ns = SENT + US}, TW_PASSAGE_DEPARTURE) ==
          1);
    CLAIM(choose(&stamp, (struct tw_raw_stamps){.hardware_ns = SENT + AHEAD_NS + 5 * US},
                 TW_PASSAGE_DEPARTURE) == 1);
    CLAIM(is(&stamp, SENT + 4 * US, TW_SOURCE_HARDWARE));
    leaves((struct tw_raw_stamps){.kernel_ns = SENT + 60 * US, .hardware_ns = SENT + AHEAD_NS}, 0,
           SENT, TW_SOURCE_HARDWARE); /* the driver was late with the kernel's */
}

int main(void)
{
    without_stamps_the_clock_serves();
    the_kernels_stamp_is_not_of_the_future_nor_old();
    the_devices_stamp_is_shortly_before_the_kernels();
    without_the_kernels_the_devices_is_measured_by_the_clock();
    a_device_without_a_model_is_not_believed();
    no_packet_leaves_before_it_was_sent();
    the_devices_stamp_is_shortly_before_it_was_read();
    a_better_source_replaces_a_worse_one_and_no_other();
    return failures != 0;
}
