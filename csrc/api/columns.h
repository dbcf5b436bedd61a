/* columns.h: the table of a session's samples, column by column: what its figures are made of. */
#pragma once
#include "api/sender.h"

enum tw_column_name {
    TW_COLUMN_ROUND_TRIP, /* (T4 - T1) - (T3 - T2) of each reply in time that has T2 and T3; in ns,
                             as all of them */
    TW_COLUMN_SEND,       /* T2 - T1 */
    TW_COLUMN_REFLECT,    /* T4 - T3 */
    TW_COLUMN_PROCESSING, /* T3 - T2 */
    TW_COLUMN_IPDV_ROUND_TRIP, /* each less that of the packet sent just before it (RFC 3393) */
    TW_COLUMN_IPDV_SEND,
    TW_COLUMN_IPDV_REFLECT,
    TW_COLUMN_LATENESS, /* of each packet sent */
    TW_COLUMN_COUNT
};

/* The values are the caller's, with room for one of each sample; they end in ascending order. */
struct tw_column {
    int64_t *values;
    uint64_t count;
    uint64_t total[2];   /* their sum: 128 bits, two's complement, least significant first */
    uint64_t squares[3]; /* the sum of their squares: 192 bits, least significant first */
};

struct tw_table {
    const struct tw_sample *samples; /* [size], sequence numbers ascending */
    const struct tw_sample *duplicates;
    uint64_t *scratch; /* [2 * (size + duplicates_size)] */
    int64_t loss_timeout_ns;
    int64_t
        numbers_begin;   /* of the reflector's numbers those that belong to the table: from here */
    int64_t numbers_end; /* to before here; -1 = no end */
    uint32_t size;
    uint32_t duplicates_size;
};

/* Three figures each are of the round trip, of the way there and of the way back. */
struct tw_columns {
    struct tw_column columns[TW_COLUMN_COUNT];
    uint64_t first; /* T1 of the ends, where anything was sent */
    uint64_t last;
    uint64_t jitter[3];    /* RFC 3550, of two replies in time or more */
    uint64_t reordered[3]; /* RFC 4737 */
    uint64_t late;
    int64_t forward; /* lost, by direction */
    int64_t reverse;
    uint64_t unknown;
    uint64_t unstamped;  /* replies in time whose T2 or T3 is 0: they have no delays */
    uint64_t clock_back; /* replies in time whose T4 is before T1 */
    uint64_t send_duplicates;
    uint64_t reflect_duplicates;
    uint64_t sender_ttls[256]; /* packets by value */
    uint64_t ttls[256];
    uint64_t tos[256];
    uint64_t t1_sources[256];
    uint64_t t4_sources[256];
    /* Error Estimates: the greatest of each end, and the two that are the greatest sum. */
    uint16_t sender_error;
    uint16_t reflector_error;
    uint16_t sum_error[2];
    uint8_t sender_unsynchronized; /* in any reply in time */
    uint8_t reflector_unsynchronized;
    uint8_t reserved[6];
};

/* Fills columns, whose values point to the caller's arrays.  -EINVAL where sequence numbers do not
 * ascend. */
int tw_columns_fill(const struct tw_table *table, struct tw_columns *columns);
