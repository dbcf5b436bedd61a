/* reflect.c: RFC 5357 section 4.2.1: one packet in, one packet out, in either layout.
 * Pure: no clock, no socket, no state.  twamp/protocol/reflect.py is the same, to be read. */
#include "packet/octets.h"
#include "api/reflect.h"

#include <string.h>

#define MULTIPLIER 1 /* the octet of the Error Estimate that is never zero */

int tw_reflect(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
               uint8_t *reply)
{
    const size_t request_head = sizeof(struct tw_sender_packet);
    const size_t reply_head = sizeof(struct tw_reflector_packet);
    struct tw_sender_packet in;
    struct tw_reflector_packet out = {0};

    if (length < request_head)
        return -TW_DROP_SHORT;
    if (length > TW_PACKET_MAX)
        return -TW_DROP_LONG;
    memcpy(&in, request, request_head);
    if (in.error_estimate.octets[MULTIPLIER] == 0)
        return -TW_DROP_ERROR_ESTIMATE;

    out.sequence_number = tw_put32(arrival->sequence_number);
    out.error_estimate = tw_put16(arrival->error_estimate);
    out.receive_timestamp = tw_put64(arrival->receive_timestamp);
    out.sender_sequence_number = in.sequence_number;
    out.sender_timestamp = in.timestamp;
    out.sender_error_estimate = in.error_estimate;
    out.sender_ttl = arrival->sender_ttl;
    memcpy(reply, &out, reply_head);
    if (length <= reply_head)
        return (int)reply_head;

    /* As long as the request: its first padding octets stay, the last 27 go. */
    memcpy(reply + reply_head, request + request_head, length - reply_head);
    return (int)length;
}

void tw_reflect_stamp(uint8_t *reply, uint64_t timestamp)
{
    const be64 field = tw_put64(timestamp);

    memcpy(reply + offsetof(struct tw_reflector_packet, timestamp), &field, sizeof field);
}

int tw_reflect_secured(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
                       uint8_t *reply)
{
    const size_t request_head = sizeof(struct tw_secured_sender_packet);
    const size_t reply_head = sizeof(struct tw_secured_reflector_packet);
    struct tw_secured_sender_packet in;
    struct tw_secured_reflector_packet out = {0};

    if (length < request_head)
        return -TW_DROP_SHORT;
    if (length > TW_PACKET_MAX)
        return -TW_DROP_LONG;
    memcpy(&in, request, request_head);
    if (in.error_estimate.octets[MULTIPLIER] == 0)
        return -TW_DROP_ERROR_ESTIMATE;

    out.sequence_number = tw_put32(arrival->sequence_number);
    out.error_estimate = tw_put16(arrival->error_estimate);
    out.receive_timestamp = tw_put64(arrival->receive_timestamp);
    out.sender_sequence_number = in.sequence_number;
    out.sender_timestamp = in.timestamp;
    out.sender_error_estimate = in.error_estimate;
    out.sender_ttl = arrival->sender_ttl;
    memcpy(reply, &out, reply_head);
    if (length <= reply_head)
        return (int)reply_head;

    /* As long as the request: its first padding octets stay, the last 64 go. */
    memcpy(reply + reply_head, request + request_head, length - reply_head);
    return (int)length;
}

void tw_reflect_secured_stamp(uint8_t *reply, uint64_t timestamp)
{
    const be64 field = tw_put64(timestamp);

    memcpy(reply + offsetof(struct tw_secured_reflector_packet, timestamp), &field, sizeof field);
}
