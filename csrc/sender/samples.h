/* samples.h: the table of samples of one session.  The sender's loop does the system calls; here is
 * what a send, a transmit stamp and an arriving datagram change in it.  Not for Python. */
#pragma once
#include "api/cmsg.h"
#include "api/reflect.h"
#include "api/sender.h"
#include "kernel/device_clock.h"
#include "packet/crypto.h"
#include "packet/wire.h"

#include <stdatomic.h>

/* Room for the head of a packet of any layout. */
#define TW_REQUEST_HEAD sizeof(struct tw_secured_sender_packet)
#define TW_REPLY_HEAD   sizeof(struct tw_secured_reflector_packet)

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
    uint64_t *written_t1;         /* [size] T1 as the packet carries it; a row's T1 may be better */
    _Atomic uint64_t duplicates_taken;   /* another thread writes it: those below may go */
    _Atomic uint64_t duplicates_written; /* another thread reads it */
    struct tw_sender_stats stats;
    struct tw_send_ids ids;
    struct tw_endpoint peer;
    struct tw_clock_models models;
    const struct tw_layout *layout;
    struct tw_cipher *cipher; /* NULL = unauthenticated */
    uint32_t attempted;
    _Atomic uint32_t settled; /* another thread reads it: rows below are final */
    uint32_t size;
    uint32_t duplicates_size;
    uint32_t rank; /* of the arrival accepted last */
    uint8_t any_source;
    uint8_t zero_estimate;
    uint8_t reserved[2];
};

/* The row of a packet.  A finite run never comes to the division. */
static inline uint32_t tw_samples_row(const struct tw_samples *samples, uint32_t sequence)
{
    return sequence < samples->size ? sequence : sequence % samples->size;
}

/* A datagram that was received: its first octets (up to TW_REPLY_HEAD) and its whole length. */
struct tw_arrived {
    const uint8_t *packet;
    size_t length;
    struct tw_endpoint source;
    struct tw_rx rx;
    uint64_t now_ns; /* Unix ns, read after the receive */
};

/* Before a packet goes: writes its row; returns its T1, NTP of unix_ns. */
uint64_t tw_samples_prepare(struct tw_samples *samples, uint64_t unix_ns, int32_t lateness_ns,
                            uint16_t error_estimate);

/* After the send: error is 0 or the errno of the refusal. */
void tw_samples_attempted(struct tw_samples *samples, int error, uint64_t monotonic_ns);

/* Before tw_samples_attempted: the send was tried twice, so nobody knows how many ids it took. */
void tw_samples_doubt(struct tw_samples *samples, uint64_t monotonic_ns);

/* Transmit stamps of the kernel or of the device, read at now_ns (Unix). */
void tw_samples_departure(struct tw_samples *samples, const struct tw_departure *departure,
                          uint64_t now_ns);
void tw_samples_arrival(struct tw_samples *samples, const struct tw_arrived *arrived);
/* An error about a packet of the session. */
void tw_samples_icmp(struct tw_samples *samples, const struct tw_icmp_error *icmp);

/* The kernel has begun to number from 0 again: the next send has id 0. */
void tw_samples_renumber(struct tw_samples *samples);

/* Of a ring: gives away the rows of packets that went timeout_ns or more before now_ns, when all
 * that had come by then has been read. */
void tw_samples_settle(struct tw_samples *samples, uint64_t now_ns, uint64_t timeout_ns);

/* Makes every row final.  In a finite run duplicates get the T1 that came to their first copy after
 * them. */
void tw_samples_finish(struct tw_samples *samples);
