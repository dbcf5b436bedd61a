/* reflect_head.h: the reflection (RFC 5357 section 4.2.1) but for the padding: the layouts, and the
 * head of a reply.  Inline, of constant sizes, without loop or library, so that BPF may include it
 * (-ffreestanding); of a constant row the compiler makes a handful of loads and stores. */
#pragma once
#include "api/reflect.h"
#include "packet/octets.h"

#define TW_MULTIPLIER 1 /* the octet of an Error Estimate that is never 0 */
/* Between T2 and T3 of one reply, at most: 16 s, in either format of timestamps. */
#define TW_LONGEST_RESIDENCE (16ull << 32)

/* Where the fields stand; Timestamp and Error Estimate at the same place in both packets. */
#define TW_LAYOUT_OF(sender, reflector)                                                            \
    .request_octets = sizeof(struct sender), .reply_octets = sizeof(struct reflector),             \
    .timestamp = offsetof(struct reflector, timestamp),                                            \
    .error_estimate = offsetof(struct reflector, error_estimate),                                  \
    .receive_timestamp = offsetof(struct reflector, receive_timestamp),                            \
    .sender_sequence_number = offsetof(struct reflector, sender_sequence_number),                  \
    .sender_timestamp = offsetof(struct reflector, sender_timestamp),                              \
    .sender_error_estimate = offsetof(struct reflector, sender_error_estimate),                    \
    .sender_ttl = offsetof(struct reflector, sender_ttl)

static const struct tw_layout tw_layouts[TW_LAYOUT_COUNT] = {
    [TW_LAYOUT_UNAUTHENTICATED] = {TW_LAYOUT_OF(tw_sender_packet, tw_reflector_packet),
                                   .shortest_request = sizeof(struct tw_sender_packet)},
    [TW_LAYOUT_SECURED] = {TW_LAYOUT_OF(tw_secured_sender_packet, tw_secured_reflector_packet),
                           .shortest_request = sizeof(struct tw_secured_sender_packet)},
    /* No state: the reply has the number of its request.  No amplifying: it is never longer. */
    [TW_LAYOUT_LIGHT] = {TW_LAYOUT_OF(tw_sender_packet, tw_reflector_packet),
                         .shortest_request = sizeof(struct tw_reflector_packet),
                         .number_copied = 1},
};

/* Whether a packet is a reply itself: it has two times of one clock, near each other, where a
 * request has padding, zeros or random octets.  Nothing answers a reply, so that neither two
 * reflectors nor a reflector and an echo service can answer each other for ever. */
static inline __attribute__((always_inline)) int
tw_reflect_is_reply(const struct tw_layout *layout, const uint8_t *packet, size_t length)
{
    uint64_t received;
    uint64_t residence;

    if (length < layout->reply_octets)
        return 0;
    received = tw_read64(packet + layout->receive_timestamp);
    residence = tw_read64(packet + layout->timestamp) - received;
    return received != 0 && residence + TW_LONGEST_RESIDENCE < 2 * TW_LONGEST_RESIDENCE &&
           packet[layout->sender_ttl] != 0 &&
           tw_read16(packet + layout->sender_error_estimate + sizeof(be16)) == 0;
}

/* Writes the head of the reply, all but T3: 0, or -TW_DROP_….  request has length octets, reply
 * has room for the head; they may be the same packet, whose padding stands behind the head then. */
static inline __attribute__((always_inline)) int
tw_reflect_head(const struct tw_layout *layout, const uint8_t *request, size_t length,
                const struct tw_arrival *arrival, uint8_t *reply)
{
    uint32_t number;
    uint64_t timestamp;
    uint16_t error_estimate;

    if (length < layout->shortest_request)
        return -TW_DROP_SHORT;
    if (length > TW_PACKET_MAX)
        return -TW_DROP_LONG;
    if (request[layout->error_estimate + TW_MULTIPLIER] == 0 && !arrival->takes_zero_error)
        return -TW_DROP_ERROR_ESTIMATE;
    if (tw_reflect_is_reply(layout, request, length))
        return -TW_DROP_LOOP;
    number = tw_read32(request);
    timestamp = tw_read64(request + layout->timestamp);
    error_estimate = tw_read16(request + layout->error_estimate);

    __builtin_memset(reply, 0, layout->reply_octets);
    tw_write32(reply, layout->number_copied ? number : arrival->sequence_number);
    tw_write16(reply + layout->error_estimate, arrival->error_estimate);
    tw_write64(reply + layout->receive_timestamp, arrival->receive_timestamp);
    tw_write32(reply + layout->sender_sequence_number, number);
    tw_write64(reply + layout->sender_timestamp, timestamp);
    tw_write16(reply + layout->sender_error_estimate, error_estimate);
    reply[layout->sender_ttl] = arrival->sender_ttl;
    return 0;
}

/* Writes T3 (wire format) into a reply. */
static inline void tw_reflect_head_stamp(const struct tw_layout *layout, uint8_t *reply,
                                         uint64_t timestamp)
{
    tw_write64(reply + layout->timestamp, timestamp);
}
