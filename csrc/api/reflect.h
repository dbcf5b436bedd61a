/* reflect.h: one packet in, one packet out (RFC 5357 section 4.2.1); pure. */
#pragma once
#include "api/counters.h"
#include "api/types.h"

/* What the Session-Reflector knows of a packet beside its octets. */
struct tw_arrival {
    uint64_t receive_timestamp; /* T2 in wire format */
    uint32_t sequence_number;   /* the reflector's own */
    uint16_t error_estimate;    /* of T2 and T3 */
    uint8_t sender_ttl;         /* from the received IP header; 255 if it cannot be read */
    uint8_t reserved;
};

/* Builds the reply, all but T3; returns its length, or -TW_DROP_….  reply has TW_PACKET_MAX. */
int tw_reflect(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
               uint8_t *reply);

/* Writes T3 (wire format) into a reply. */
void tw_reflect_stamp(uint8_t *reply, uint64_t timestamp);

/* The same for the layouts of the secured modes: request in clear, reply to be sealed. */
int tw_reflect_secured(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
                       uint8_t *reply);
void tw_reflect_secured_stamp(uint8_t *reply, uint64_t timestamp);

/* crypto.c, for tests: seals or unseals one packet in place; 0, -EBADMSG for a wrong HMAC, or
 * -EINVAL for a mode that seals nothing. */
int tw_crypto_packet(uint8_t mode, const struct tw_test_keys *keys, int is_reply, int seal,
                     uint8_t *packet);
