/* sender.h: the Session-Sender (RFC 5357 section 4.1). */
#pragma once
#include "api/cmsg.h"
#include "api/device_clock.h"
#include "api/types.h"

struct tw_sender;

/* Why a received datagram is no reply of the session. */
enum tw_sender_drop {
    TW_SENDER_DROP_SHORT = 1,      /* shorter than the reflector packet of the mode */
    TW_SENDER_DROP_LONG,           /* longer than TW_PACKET_MAX */
    TW_SENDER_DROP_FOREIGN,        /* not from the Session-Reflector's address and port */
    TW_SENDER_DROP_HMAC,           /* secured modes: not sealed with the keys of the session */
    TW_SENDER_DROP_ERROR_ESTIMATE, /* Multiplier 0 */
    TW_SENDER_DROP_SEQUENCE,       /* a Sender Sequence Number that was not sent */
    TW_SENDER_DROP_NO_ROOM, /* a further copy of a packet, and the table of duplicates is full */
    TW_SENDER_DROP_LATE,    /* to a packet whose row of the ring has been given away */
    TW_SENDER_DROP_ECHO,    /* Sender Timestamp or Sender Error Estimate is not as it was sent */
    TW_SENDER_DROP_COUNT
};

/* One packet and the reply to it.  Times are NTP 64 bit, host order (differences span eras). */
struct tw_sample {
    uint64_t t1;              /* departure; the kernel's TX stamp where there is one */
    uint64_t t2;              /* Receive Timestamp */
    uint64_t t3;              /* Timestamp of the reply */
    uint64_t t4;              /* arrival of the reply */
    uint32_t sequence_number; /* the sender's */
    uint32_t reflector_sequence_number;
    uint32_t rank;       /* order of arrival, from 1; 0 = no reply (yet) */
    int32_t lateness_ns; /* T1 as read before the send, less the scheduled time */
    uint16_t sender_error_estimate;
    uint16_t reflector_error_estimate;
    uint8_t sender_ttl; /* as the reflector saw it */
    uint8_t ttl;        /* of the reply, as received; 255 if it cannot be read */
    uint8_t tos;        /* of the reply, as received */
    uint8_t t1_source;  /* enum tw_source; NONE = never sent */
    uint8_t t4_source;
    uint8_t reserved[7];
};

/* The four arrays are the caller's, and stay where they are until after close.
 *
 * With fewer rows than packets schedule and samples are rings: a packet's row is its sequence
 * number modulo size.  A row changes hands twice: it is run's from tw_sender_schedule_until until
 * loss_timeout_ns after its packet has gone, and the caller's again below tw_sender_settled. */
struct tw_sender_config {
    uint64_t *schedule; /* [size] ns after start_ns, ascending; in a ring run writes there when the
                           packet went (CLOCK_MONOTONIC) */
    const uint8_t *padding;       /* [padding_length + 255]; a window of it that moves goes out */
    struct tw_sample *samples;    /* [size], zeroed */
    struct tw_sample *duplicates; /* [duplicates_size]: arrivals after the first of their number */
    uint64_t start_ns;            /* CLOCK_MONOTONIC */
    uint64_t loss_timeout_ns;     /* how long replies are read after the last packet; of a ring:
                                     after each */
    struct tw_endpoint peer;      /* the Session-Reflector */
    struct tw_test_keys keys;     /* of the secured modes */
    uint32_t count;               /* packets, in all */
    uint32_t size; /* rows, of which count or size, whichever is less, are scheduled at open */
    uint32_t padding_length; /* octets after the header: 14, or 48 in the secured modes */
    uint32_t duplicates_size;
    uint32_t receive_buffer; /* octets to ask for with SO_RCVBUF; 0 = leave the system's */
    uint8_t dscp;
    uint8_t ttl;             /* 255 (RFC 4656 section 4.1.2) */
    uint8_t mode;            /* enum tw_mode */
    uint8_t hardware;        /* whether the device is to be asked for stamps, too */
    uint8_t any_source;      /* replies may come from any address and port */
    uint8_t zero_estimate;   /* replies may have an Error Estimate of Multiplier 0 */
    uint8_t do_not_fragment; /* packets have DF */
    uint8_t reserved;
};

struct tw_sender_stats {
    uint64_t sent;
    uint64_t send_errors;                 /* packets the kernel refused: never sent */
    uint64_t received;                    /* datagrams read: samples + duplicates + drops */
    uint64_t drops[TW_SENDER_DROP_COUNT]; /* [0] stays 0 */
    uint64_t refused_stamps;
    uint64_t truncated_control;
    uint64_t duplicates; /* arrivals written to their table; of a ring row modulo duplicates_size */
    uint64_t stalls; /* of a ring: times that every packet scheduled had gone, and not the last */
    uint64_t icmp[TW_ICMP_COUNT];   /* errors about packets of the session; [0] stays 0 */
    uint64_t without_estimate;      /* replies taken whose Error Estimate has Multiplier 0 */
    struct tw_endpoint icmp_source; /* of the last of them; ip_version 0 = none */
    struct tw_endpoint foreign;     /* source of the last foreign datagram; ip_version 0 = none */
    int32_t send_errno;             /* of the last refused packet; 0 = none */
    uint32_t path_mtu;              /* as an error has said it; 0 = none has */
};

int tw_sender_open(const struct tw_sender_config *config, int fd, struct tw_sender **sender);

/* Sends the schedule, reads replies until loss_timeout_ns after the last packet, or until every
 * packet has been answered and duplicates have had a moment to come (no ring); 0 or -errno. */
int tw_sender_run(struct tw_sender *sender);

/* From any thread: run sends no more, and returns at once (drain = 0) or loss_timeout_ns after the
 * last packet. */
int tw_sender_stop(struct tw_sender *sender, int drain);
void tw_sender_stats(struct tw_sender *sender, struct tw_sender_stats *stats);

/* As tw_reflector_set_clock_models; without a model stamps of devices are refused. */
int tw_sender_set_clock_models(struct tw_sender *sender, const struct tw_clock_model *models,
                               uint32_t count);

/* A ring's caller, in one thread at a time, while another runs it.
 *
 * Rows below the number that settled returns are final, and the caller's; so are duplicates below
 * *duplicates, all of those of settled rows among them.  schedule_until gives rows back: those of
 * packets below sequence have been filled in schedule and hold no sample that is still wanted; it
 * never goes back, nor beyond settled + size (-EINVAL).  The same for duplicates below
 * duplicates_taken. */
uint32_t tw_sender_settled(struct tw_sender *sender, uint64_t *duplicates);
int tw_sender_schedule_until(struct tw_sender *sender, uint32_t sequence,
                             uint64_t duplicates_taken);
void tw_sender_close(struct tw_sender *sender);
