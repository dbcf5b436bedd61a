/* outbox.h: how replies leave.  Those that were built go out in chunks, each under one T3, as large
 * as the budget for its error allows; four or more for one peer leave as the segments of one send.
 * One thread's, without a lock. */
#pragma once
#include "kernel/mmsg.h" /* first: it asks for _GNU_SOURCE */
#include "packet/crypto.h"
#include "reflector/t3_error.h"

#define TW_RUN_MAX  16   /* segments of one send */
#define TW_REFUSALS 4096 /* a power of two */

/* A reply on its way out.  Its octets are in io; the caller fills in all but the result. */
struct tw_outgoing {
    struct tw_cipher *cipher; /* that seals it; NULL = none */
    const struct tw_layout *layout;
    uint32_t session; /* row: replies of one session may leave together */
    uint8_t light;    /* of any peer: then only those of one peer */
    uint8_t sealed;   /* an earlier attempt has encrypted its T3 */
    uint8_t drop;     /* result: enum tw_drop, 0 = sent */
    uint8_t group;
};

/* The number of replies that one call sends within the budget, in eighths, learnt from how long the
 * calls take. */
struct tw_portion {
    uint32_t eighths;
    uint32_t least;
    uint32_t most;
};

struct tw_outbox {
    struct tw_mmsg io;
    struct tw_outgoing replies[TW_BATCH];
    struct mmsghdr chunk[TW_BATCH]; /* of one call */
    struct iovec segments[TW_RUN_MAX];
    _Alignas(
        8) uint8_t control[TW_CMSG_OCTETS]; /* of a run, or of the reply that asks for a stamp */
    uint8_t order[TW_BATCH];                /* replies, those of a peer together */
    uint8_t as_built;                       /* the order is that in which they stand */
    struct tw_portion single;
    struct tw_portion run;
    struct tw_t3_error t3_error;
    /* Until when replies of a length to a peer of a socket do not leave as segments, since the
     * kernel has refused that: Unix ns, by their hash. */
    uint64_t refused_until_ns[TW_REFUSALS];
    uint64_t seed;           /* of the hash */
    uint64_t now_ns;         /* when the replies that are being sent were begun; Unix */
    int fd;                  /* of their socket */
    int count;               /* of them */
    int chosen;              /* position of the one that asks for a stamp; -1 = none */
    int rehearsing;          /* what is sent now is not seen by anybody */
    struct msghdr rehearsed; /* its header, as it was */
    uint64_t *counters;      /* by enum tw_counter; of the batch */
    uint64_t budget_ns;      /* 0 = chunks of a fixed size, and no runs */
    uint8_t ptp;             /* T3 of light sessions in that format */
};

/* tx_batch replies a chunk, or with 0 as many as budget_ns allows.  Whether it opens or not, it is
 * to be closed. */
int tw_outbox_open(struct tw_outbox *outbox, uint32_t tx_batch, uint32_t budget_ns, int ptp);
void tw_outbox_close(struct tw_outbox *outbox);
/* Sends the first count replies; each gets its drop.  ids are those of the socket. */
void tw_outbox_send(struct tw_outbox *outbox, int fd, struct tw_stamp_ids *ids, int count);
