/* t3_error.h: measures how much later than its T3 a reply leaves.  Replies ask the kernel for
 * transmit stamps: each that leaves alone after a pause, otherwise one a millisecond.  The
 * distances from T3 to the departures are kept as a histogram.  If T3 is to be corrected, replies
 * also tell when they are ready for the device, which t3_correction.h learns from.  Only the loop
 * uses this, but for struct tw_t3_error_stats, which the caller shares under its lock. */
#pragma once
#include "kernel/rehearsal.h" /* first: it asks for _GNU_SOURCE */
#include "api/reflector.h"
#include "kernel/device_clock.h"
#include "reflector/histogram.h"
#include "reflector/t3_correction.h"

/* The ids of one socket's transmit stamps: the kernel numbers those that were asked for. */
struct tw_stamp_ids {
    uint32_t generation; /* of the socket; of another one it counts as unknown */
    uint32_t next_id;
    int known;
};

struct tw_t3_error {
    const struct tw_stamp_ids *waits_for; /* NULL = no stamp is under way */
    uint64_t clock_ns;                    /* what was read for its T3 */
    uint64_t due_ns;                      /* none is asked before, but after a pause */
    uint64_t left_ns;                     /* when the latest replies had left */
    uint32_t random;
    uint32_t asked;
    uint32_t waits_for_id;
    uint32_t corrected_ns; /* what was added to its T3 */
    uint32_t missed;       /* since the last post */
    uint32_t missed_in_a_row;
    uint32_t source;              /* enum tw_source, which is asked */
    uint64_t queued_ns;           /* from reading the clock until it was ready for the device */
    uint64_t departed_ns;         /* and until it left, had it not asked */
    uint64_t asking_ns;           /* by how much later a reply leaves because it asks the kernel */
    enum tw_t3_state state;       /* of the replies that leave now */
    enum tw_t3_state asked_state; /* of the one that asks */
    uint32_t points;              /* enum tw_transmit: what it asks for */
    uint32_t told;                /* of these, the ones that were stamped since the last post */
    int off;                      /* the kernel is not to stamp */
    int correct;                  /* T3 is to be corrected */
    int deserted;                 /* the device was asked, and gave no stamps */
    const struct tw_clock_models *models;
    struct tw_t3_correction correction;
    struct tw_rehearsal rehearsal;
};

/* Measures on loopback, in a few milliseconds, what asking costs and what no reply takes less than;
 * without loopback, or stamps, both are unknown. */
void tw_t3_error_open(struct tw_t3_error *t3_error);
void tw_t3_error_close(struct tw_t3_error *t3_error);

/* Chooses the reply that asks, of count that are about to leave: its position, or -1 for none. */
int tw_t3_error_choose(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids, int count,
                       uint64_t now_ns);
/* Returns what is to be added to the clock for T3 of the replies that leave now. */
static inline uint32_t tw_t3_error_correction_ns(const struct tw_t3_error *t3_error, int in_run)
{
    return t3_error->correction.states[in_run ? TW_T3_RUN : t3_error->state].correction_ns;
}
/* How often the send is to be rehearsed: after a pause once, after a longer one twice. */
static inline int tw_t3_error_rehearsals(const struct tw_t3_error *t3_error)
{
    if (t3_error->state < TW_T3_PAUSED || !t3_error->correct)
        return 0;
    return t3_error->state > TW_T3_PAUSED ? 2 : 1;
}
/* Notes that the chosen reply has left, by itself or in a run; clock_ns is the clock as read for
 * its T3. */
void tw_t3_error_sent(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids,
                      uint64_t clock_ns, int in_run);
/* Empties the socket's error queue of stamps, which would wake the loop again and again. */
void tw_t3_error_read(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids);
/* Adds what is new to stats, under the lock; 1 each time that a window of samples is full. */
int tw_t3_error_post(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats);
