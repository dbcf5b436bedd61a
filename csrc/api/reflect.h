/* reflect.h: one packet in, one packet out (RFC 5357 section 4.2.1); pure. */
#pragma once
#include "api/counters.h"
#include "api/types.h"

/* What the Session-Reflector knows of a packet beside its octets. */
struct tw_arrival {
    uint64_t receive_timestamp; /* T2 in wire format */
    uint32_t sequence_number;   /* the reflector's own, where the layout has it count */
    uint16_t error_estimate;    /* of T2 and T3 */
    uint8_t sender_ttl;         /* from the received IP header; 255 if it cannot be read */
    uint8_t takes_zero_error;   /* whether a request with Multiplier 0 is answered */
};

/* The kinds of test packets; each has a row. */
enum tw_layout_row {
    TW_LAYOUT_UNAUTHENTICATED, /* and mixed mode */
    TW_LAYOUT_SECURED,         /* authenticated and encrypted mode */
    TW_LAYOUT_LIGHT,           /* TWAMP Light (RFC 5357 Appendix I) */
    TW_LAYOUT_COUNT
};

/* A row: sizes and offsets in octets.  Sequence Numbers stand first; Timestamp and Error Estimate
 * at the same place in request and reply. */
struct tw_layout {
    uint8_t shortest_request; /* what is shorter is dropped */
    uint8_t request_octets;   /* of the request, before its padding */
    uint8_t reply_octets;     /* of the reply, before its padding */
    uint8_t number_copied;    /* 1: the reply's number is its request's; 0: the reflector's own */
    uint8_t timestamp;
    uint8_t error_estimate;
    uint8_t receive_timestamp; /* from here on of the reply */
    uint8_t sender_sequence_number;
    uint8_t sender_timestamp;
    uint8_t sender_error_estimate;
    uint8_t sender_ttl;
};

/* The row; it lasts for ever, and is the same at every call. */
const struct tw_layout *tw_layout(enum tw_layout_row row);

/* Builds the reply, all but T3; returns its length, or -TW_DROP_….  reply has TW_PACKET_MAX.  In
 * secured modes the request is in clear, and the reply is to be sealed. */
int tw_reflect(const struct tw_layout *layout, const uint8_t *request, size_t length,
               const struct tw_arrival *arrival, uint8_t *reply);

/* Writes T3 (wire format) into a reply. */
void tw_reflect_stamp(const struct tw_layout *layout, uint8_t *reply, uint64_t timestamp);

/* crypto.c, for tests: seals or unseals one packet in place; 0, -EBADMSG for a wrong HMAC, or
 * -EINVAL for a mode that seals nothing. */
int tw_crypto_packet(uint8_t mode, const struct tw_test_keys *keys, int is_reply, int seal,
                     uint8_t *packet);
