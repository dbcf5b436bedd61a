/* sender.h: the Session-Sender between its control, which any thread may call, and its loop, which
 * one thread runs. */
#pragma once
#include "sender/inbox.h" /* first: it asks for _GNU_SOURCE */

#include <pthread.h>
#include <stdatomic.h>

#define TW_SENDER_T1_ERROR_NS 5000u /* from reading the clock to the packet leaving, at best */

enum tw_sender_stopping { TW_SENDER_RUNS, TW_SENDER_DRAINS, TW_SENDER_STOPS };

struct tw_sender {
    struct tw_sender_config config; /* without the keys */
    union tw_sockaddr peer;
    socklen_t peer_length;
    int fd;
    int wake_fd;
    atomic_int stopping;        /* enum tw_sender_stopping: stop writes, run reads */
    _Atomic uint32_t scheduled; /* schedule_until writes, run reads */
    pthread_mutex_t lock;       /* over published and models */
    struct tw_sender_stats published;
    struct tw_clock_models models; /* run's are in samples */

    /* The loop's alone. */
    struct tw_samples samples;
    struct tw_inbox inbox;
    uint64_t margin_ns;       /* how long before a packet is due the loop wakes */
    uint64_t last_send_ns;    /* CLOCK_MONOTONIC; of refused ones, too */
    uint64_t last_arrival_ns; /* CLOCK_MONOTONIC; when the last reply had been read */
    uint64_t estimate_at_ns;  /* when the error estimate is to be read again */
    uint32_t unread_sends;    /* since replies and stamps were read */
    uint32_t rank_read;       /* the rank of that reply */
    uint32_t stalled_at;      /* the sequence number whose stall has been counted last */
    uint16_t error_estimate;
};

/* Sets up what belongs to the loop, before its first turn. */
void tw_sender_prepare_loop(struct tw_sender *sender);
/* Asks the kernel for stamps.  Without them the samples say that their times are this program's. */
void tw_sender_choose_stamps(const struct tw_sender *sender);
