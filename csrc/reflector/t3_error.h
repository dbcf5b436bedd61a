/* t3_error.h: measures how much later than its T3 a reply leaves.  A reply now and then asks for a
 * transmit stamp; the distances from T3 to the stamps are kept as a histogram.  If T3 is to be
 * corrected, seven eighths of the least of the latest distances are added to it: then it is nearer
 * the truth, and hardly ever later.  Only the loop uses this, but for struct tw_t3_error_stats,
 * which the caller shares under its lock. */
#pragma once
#include "api/reflector.h"
#include "kernel/device_clock.h"
#include "reflector/histogram.h"

/* The ids of one socket's transmit stamps: the kernel numbers those that were asked for. */
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
    uint32_t source; /* enum tw_source, which is asked */
    uint64_t sample_ns;
    uint64_t asking_ns; /* by how much later a reply leaves because it asks the kernel */
    int sampled;        /* since the last post: sample_ns is new */
    int off;            /* the kernel is not to stamp */
    int correct;        /* T3 is to be corrected */
    int deserted;       /* the device was asked, and gave no stamps */
    const struct tw_clock_models *models;
};

/* Measures asking_ns, by packets to itself over loopback, in a few milliseconds; without loopback,
 * or stamps, it is 0. */
void tw_t3_error_measure_asking(struct tw_t3_error *t3_error);

/* Chooses the reply that asks, of count that are about to leave: its position, or -1 for none. */
int tw_t3_error_choose(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids, int count,
                       uint64_t now_ns);
/* Notes that the chosen reply has left; clock_ns is the clock as read for its T3. */
void tw_t3_error_sent(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids,
                      uint64_t clock_ns);
/* Empties the socket's error queue of stamps, which would wake the loop again and again. */
void tw_t3_error_read(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids);
/* Adds what is new to stats, under the lock; 1 each time that a window of samples is full. */
int tw_t3_error_post(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats);
