/* reflector.h: the Session-Reflector between its control, which any thread may call, and its loop,
 * which one thread runs. */
#pragma once
#include "reflector/batch.h" /* first: it asks for _GNU_SOURCE */

#include <pthread.h>
#include <stdatomic.h>

#define TW_REFLECTOR_WAKE      UINT64_MAX /* in epoll: the id of no socket */
#define TW_REFLECTOR_MOST_BUSY 4096       /* a power of two */

struct tw_reflector {
    pthread_mutex_t lock; /* over pool, admission, retired, records and models */
    struct tw_pool pool;
    struct tw_admission admission;
    struct tw_cipher
        *retired; /* of removed sessions: the loop may be using them, and closes them */
    struct tw_batch_records records;
    struct tw_clock_models models;
    uint32_t models_set; /* how often */
    struct tw_reflector_config config;
    int epoll;
    int wake;
    int stamping;
    atomic_int stopping;
    atomic_uint granted; /* receive buffer of the latest socket */

    /* The loop's alone. */
    struct tw_batch batch;
    uint32_t models_known;                 /* of models_set */
    uint64_t busy[TW_REFLECTOR_MOST_BUSY]; /* ids of sockets that are not in epoll: a ring */
    uint32_t busy_first;
    uint32_t busy_count;
};
