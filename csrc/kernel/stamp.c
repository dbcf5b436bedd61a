/* stamp.c: the one place that decides which stamp of a packet is believed.  All times in Unix ns.
 */
#include "kernel/stamp.h"
#include "kernel/clock.h"

/* How far from the program's clock a stamp may be.  No packet arrives after it was read, nor leaves
 * before it was sent, but for the kernel's rounding.  A program that was stopped reads late what
 * came in time; a stamp that is older still is of another clock. */
#define LONGEST_UNREAD_NS (3600ull * TW_NS_PER_S) /* since an arrival */
#define LONGEST_UNSENT_NS (10ull * TW_NS_PER_S)   /* until a departure */
#define ROUNDING_NS       1000u
/* From a device's stamp to the kernel's.  A driver may take the kernel's stamp of a departure after
 * it has handed the packet to its device. */
#define LONGEST_LAG_NS 100000000u
#define DRIVER_NS      100000u

static int is_near(uint64_t ns, uint64_t known_ns, uint64_t earlier_ns, uint64_t later_ns)
{
    return ns - known_ns + earlier_ns <= earlier_ns + later_ns; /* modulo 2^64 */
}

/* 1, or 0 when the device's clock is unknown, or shows a time that cannot be.  The stamp was taken
 * at latest_ns or before. */
static __attribute__((noinline)) int believe_device(struct tw_stamp *stamp,
                                                    const struct tw_raw_stamps *raw,
                                                    const struct tw_clock_models *models,
                                                    uint64_t latest_ns, int arrived)
{
    const struct tw_clock_model *model = tw_device_clock_model(models, raw->device);
    uint64_t earlier_ns;
    uint64_t ns;

    if (model == NULL || !tw_device_clock_convert(model, raw->hardware_ns, &ns) ||
        !is_near(ns, latest_ns, LONGEST_LAG_NS, model->error_ns + ROUNDING_NS))
        return 0;
    if (ns > latest_ns)
        ns = latest_ns; /* later by the error of the model alone */
    earlier_ns = arrived ? LONGEST_LAG_NS : DRIVER_NS + model->error_ns;
    if (stamp->source >= TW_SOURCE_HARDWARE ||
        !is_near(ns, stamp->ns, earlier_ns, arrived ? 0 : LONGEST_UNSENT_NS))
        return 0;
    *stamp = (struct tw_stamp){ns, model->error_ns, TW_SOURCE_HARDWARE};
    return 1;
}

static int believe_kernel(struct tw_stamp *stamp, uint64_t ns, int arrived)
{
    const uint64_t earlier_ns = arrived ? LONGEST_UNREAD_NS : ROUNDING_NS;

    if (stamp->source >= TW_SOURCE_KERNEL ||
        !is_near(ns, stamp->ns, earlier_ns, arrived ? 0 : LONGEST_UNSENT_NS))
        return 0;
    stamp->ns = ns;
    stamp->source = TW_SOURCE_KERNEL;
    return 1;
}

uint32_t tw_stamp_choose(struct tw_stamp *stamp, const struct tw_raw_stamps *raw,
                         const struct tw_clock_models *models, uint64_t now_ns,
                         enum tw_passage passage)
{
    const int arrived = passage == TW_PASSAGE_ARRIVAL;
    const uint32_t refused = raw->kernel_ns != 0 && !believe_kernel(stamp, raw->kernel_ns, arrived);

    if (raw->hardware_ns == 0)
        return refused;
    return refused + !believe_device(stamp, raw, models, arrived ? stamp->ns : now_ns, arrived);
}
