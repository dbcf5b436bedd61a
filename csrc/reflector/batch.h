/* batch.h: what becomes of the packets that one recvmmsg brought: receive, assign, answer, post.
 * Assign and post touch what is shared, under the caller's lock; receive and answer do not. */
#pragma once
#include "kernel/mmsg.h" /* first: it asks for _GNU_SOURCE */
#include "kernel/stamp.h"
#include "reflector/admission.h"
#include "reflector/outbox.h"
#include "reflector/pool.h"

/* The reflector's own Sequence Number of a session; of another generation it counts as 0. */
struct tw_numbering {
    uint32_t generation;
    uint32_t next;
};

/* One received packet, and what becomes of it. */
struct tw_verdict {
    struct tw_stamp received; /* T2 */
    uint64_t lag_ns; /* of the kernel's stamp behind the device's, and 1; 0 = not both came */
    struct tw_cipher
        *cipher; /* of the session, if it is secured; lasts for this turn of the loop */
    const struct tw_layout *layout; /* of the session */
    uint32_t session;               /* row; TW_POOL_NONE = of no session */
    uint32_t generation;
    uint32_t sender_number; /* of a good packet */
    uint32_t number;        /* of its reply */
    uint8_t drop;           /* enum tw_drop; 0 = reflected */
    uint8_t refused_stamp;
    uint8_t zero_error; /* its Error Estimate has Multiplier 0 */
    uint8_t tos;        /* of the reply */
    uint8_t light;      /* of a light session */
};

/* The records that outlive a batch. */
struct tw_batch_records {
    struct tw_reflector_stats stats;
    struct tw_t3_error_stats t3_error;
    struct tw_histogram receive_lag;
};

struct tw_batch {
    struct tw_numbering *numberings; /* by row of the session */
    struct tw_stamp_ids *stamp_ids;  /* by row of the socket */
    struct tw_rx told[TW_BATCH];     /* what the kernel says of each packet */
    struct tw_verdict verdicts[TW_BATCH];
    uint8_t answered[TW_BATCH]; /* which packet of rx the reply i of tx answers */
    uint16_t error_estimates[TW_SOURCE_COUNT];
    uint64_t counters[TW_COUNTER_COUNT]; /* since open; post copies them into the records */
    uint64_t estimated_ns;               /* when that was; CLOCK_MONOTONIC, 0 = never */
    uint64_t least_error_ns; /* of kernel stamps, beside the clock's: what is expected of T3 */
    uint64_t t3_error_ns;    /* what is measured of it; 0 = not yet */
    uint64_t now_ns;         /* when the batch was received; CLOCK_MONOTONIC */
    uint32_t socket;         /* row */
    int count;
    uint8_t ptp; /* T2 and T3 of light sessions leave in that format */
    uint8_t takes_zero_error;
    struct tw_clock_models models;
    struct tw_mmsg rx;
    struct tw_outbox outbox;
};

/* Whether it opens or not, it is to be closed. */
int tw_batch_open(struct tw_batch *batch, const struct tw_reflector_config *config);
void tw_batch_close(struct tw_batch *batch);
int tw_batch_receive(struct tw_batch *batch, int fd); /* how many packets, or -errno */
void tw_batch_assign(struct tw_batch *batch, struct tw_pool *pool, struct tw_admission *admission,
                     uint32_t socket);
void tw_batch_answer(struct tw_batch *batch, int fd);
void tw_batch_post(struct tw_batch *batch, struct tw_pool *pool, struct tw_batch_records *records);
/* Counts the packets that a socket's buffer has lost, of which so many are known since its birth.
 */
void tw_batch_count_overflows(struct tw_batch *batch, struct tw_pool_socket *socket,
                              uint32_t overflows);
/* Reads transmit stamps, when something woke the loop that was no packet. */
void tw_batch_read_stamps(struct tw_batch *batch, int fd, uint32_t socket);
