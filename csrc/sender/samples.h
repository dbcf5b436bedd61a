/* samples.h: between sender.c, which does system calls, and samples.c, which keeps the table.  Not
 * for Python. */
#pragma once
#include "api/cmsg.h"
#include "api/sender.h"
#include "packet/crypto.h"
#include "packet/wire.h"
#include "kernel/device_clock.h"

/* All that is read of a reply, of either layout. */
#define TW_REPLY_HEAD sizeof(struct tw_secured_reflector_packet)

/* Which transmit stamp belongs to which packet.  The kernel numbers the sends of a socket, but
 * whether a send that failed has used up a number depends on the failure and on the kernel's
 * version. */
struct tw_send_ids {
    uint64_t doubtful_since_ns; /* CLOCK_MONOTONIC */
    uint32_t first;             /* sequence number of the send with id 0 */
    uint32_t doubtful_from;     /* from this sequence number on ids may be off; UINT32_MAX = none */
    uint32_t awaited;           /* sends whose stamp has not come yet */
    uint32_t reserved;
};

/* Everything that is known of the packets of one session; one thread uses it, but for three
 * atomics.  As a ring it is that thread's from settled to scheduled: the rows below are others'. */
struct tw_samples {
    struct tw_sample *rows;       /* [size]; those below attempted have been handed to the kernel */
    struct tw_sample *duplicates; /* [duplicates_size] */
    uint64_t *departed_ns;        /* [size] CLOCK_MONOTONIC; NULL = no ring: every row is kept */
    uint64_t duplicates_taken;    /* atomic, written by another thread: those below may go */
    uint64_t duplicates_written;  /* atomic, for another thread */
    struct tw_sender_stats stats;
    struct tw_send_ids ids;
    struct tw_endpoint peer;
    struct tw_clock_models models;
    struct tw_cipher *cipher; /* NULL = unauthenticated */
    uint32_t attempted;
    uint32_t settled; /* atomic, for another thread: rows below are final */
    uint32_t size;
    uint32_t duplicates_size;
    uint32_t rank; /* of the arrival accepted last */
    uint32_t reserved;
};

/* The row of a packet.  A finite run never comes to the division. */
static inline uint32_t tw_samples_row(const struct tw_samples *samples, uint32_t sequence)
{
    return sequence < samples->size ? sequence : sequence % samples->size;
}

/* A received datagram: its first octets (up to TW_REPLY_HEAD), its whole length, and where and
 * when. */
struct tw_arrived {
    const uint8_t *packet;
    size_t length;
    struct tw_endpoint source;
    struct tw_rx rx;
    uint64_t now_ns; /* Unix ns, read after the receive */
};

/* Before a packet goes: writes its row (times in Unix ns) and its 14 octets. */
void tw_samples_prepare(struct tw_samples *samples, uint64_t unix_ns, int32_t lateness_ns,
                        uint16_t error_estimate, struct tw_sender_packet *packet);

/* After the send: error is 0 or the errno of the refusal. */
void tw_samples_attempted(struct tw_samples *samples, int error, uint64_t monotonic_ns);
/* A transmit stamp, of the kernel or of the device; 0 ns: it was one that cannot be. */
void tw_samples_departure(struct tw_samples *samples, uint32_t id, uint64_t unix_ns,
                          enum tw_source source);
void tw_samples_arrival(struct tw_samples *samples, const struct tw_arrived *arrived);

/* The kernel has begun to number from 0 again: the next send has id 0. */
void tw_samples_renumber(struct tw_samples *samples);

/* Of a ring: gives away the rows of packets that went timeout_ns or more before now_ns, when all
 * that had come by then has been read. */
void tw_samples_settle(struct tw_samples *samples, uint64_t now_ns, uint64_t timeout_ns);

/* Every row is final.  In a finite run duplicates get the T1 that came to their first copy after
 * them. */
void tw_samples_finish(struct tw_samples *samples);
