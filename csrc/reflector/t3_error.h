/* t3_error.h: how much later than its T3 a reply leaves.  A reply now and then asks the kernel for
 * a transmit stamp; what that is later than T3 is kept as a histogram.  If T3 is to be corrected,
 * most of what it was at least, lately, is added to it: then it is nearer the truth, and hardly
 * ever later.  The loop's alone, but for struct tw_t3_error_stats, which the caller shares under
 * its lock. */
#pragma once
#include "api/reflector.h"
#include "kernel/device_clock.h"
#include "reflector/histogram.h"

/* What one socket's stamps are called: the kernel counts those that were asked for. */
struct tw_stamp_ids {
    uint32_t generation; /* of the socket; of another one it counts as unknown */
    uint32_t next_id;
    int known;
};

struct tw_t3_error {
    const struct tw_stamp_ids *waits_for; /* NULL = no stamp is under way */
    uint64_t clock_ns;                    /* what was read for its T3 */
    uint64_t due_ns;                      /* no further one before */
    uint64_t least_ns[2];                 /* of the samples now, and of as many before */
    uint32_t samples;                     /* of these */
    uint32_t correction_ns;               /* to be added to the clock for T3 */
    uint32_t random;
    uint32_t waits_for_id;
    uint32_t missed; /* since the last post */
    uint32_t missed_in_a_row;
    uint32_t source; /* enum tw_source: who is asked */
    uint64_t sample_ns;
    uint64_t asking_ns; /* by how much later a reply leaves because it asks the kernel */
    int sampled;        /* since the last post: sample_ns is new */
    int off;            /* the kernel is not to stamp */
    int correct;        /* T3 is to be corrected */
    int deserted;       /* the device was asked, and told nothing */
    const struct tw_clock_models *models;
};

/* Measures asking_ns, by packets to itself over loopback, in a few milliseconds; without loopback,
 * or stamps, it is 0. */
void tw_t3_error_measure_asking(struct tw_t3_error *t3_error);

/* The position of the reply, of so many that are about to leave, that asks; -1 = none. */
int tw_t3_error_choose(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids, int count,
                       uint64_t now_ns);
/* It has left; the clock was read at clock_ns for it. */
void tw_t3_error_sent(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids,
                      uint64_t clock_ns);
/* Takes what stamps there are from the socket's error queue, or else it would wake the loop. */
void tw_t3_error_read(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids);
/* Under the lock: what is new since the last time; 1 now and then, when it is worth a look. */
int tw_t3_error_post(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats);
