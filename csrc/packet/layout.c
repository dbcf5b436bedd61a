/* layout.c: the offsets of the RFCs, checked by the compiler; makes no code. */
#include "packet/wire.h"

#include <stddef.h>

#define AT(packet, field, offset)                                                                  \
    _Static_assert(offsetof(struct packet, field) == (offset), #packet "." #field)
#define SIZE(packet, size)                                                                         \
    _Static_assert(sizeof(struct packet) == (size) && _Alignof(struct packet) == 1, #packet)

/* RFC 4656 section 4.1.2, unauthenticated. */
AT(tw_sender_packet, sequence_number, 0);
AT(tw_sender_packet, timestamp, 4);
AT(tw_sender_packet, error_estimate, 12);
SIZE(tw_sender_packet, 14);

/* RFC 5357 section 4.2.1, unauthenticated. */
AT(tw_reflector_packet, sequence_number, 0);
AT(tw_reflector_packet, timestamp, 4);
AT(tw_reflector_packet, error_estimate, 12);
AT(tw_reflector_packet, mbz_1, 14);
AT(tw_reflector_packet, receive_timestamp, 16);
AT(tw_reflector_packet, sender_sequence_number, 24);
AT(tw_reflector_packet, sender_timestamp, 28);
AT(tw_reflector_packet, sender_error_estimate, 36);
AT(tw_reflector_packet, mbz_2, 38);
AT(tw_reflector_packet, sender_ttl, 40);
SIZE(tw_reflector_packet, 41);

/* RFC 4656 section 4.1.2, authenticated and encrypted. */
AT(tw_secured_sender_packet, sequence_number, 0);
AT(tw_secured_sender_packet, mbz_1, 4);
AT(tw_secured_sender_packet, timestamp, 16);
AT(tw_secured_sender_packet, error_estimate, 24);
AT(tw_secured_sender_packet, mbz_2, 26);
AT(tw_secured_sender_packet, hmac, 32);
SIZE(tw_secured_sender_packet, 48);

/* RFC 5357 section 4.2.1, authenticated and encrypted; 112 octets by erratum 5045. */
AT(tw_secured_reflector_packet, sequence_number, 0);
AT(tw_secured_reflector_packet, mbz_1, 4);
AT(tw_secured_reflector_packet, timestamp, 16);
AT(tw_secured_reflector_packet, error_estimate, 24);
AT(tw_secured_reflector_packet, mbz_2, 26);
AT(tw_secured_reflector_packet, receive_timestamp, 32);
AT(tw_secured_reflector_packet, mbz_3, 40);
AT(tw_secured_reflector_packet, sender_sequence_number, 48);
AT(tw_secured_reflector_packet, mbz_4, 52);
AT(tw_secured_reflector_packet, sender_timestamp, 64);
AT(tw_secured_reflector_packet, sender_error_estimate, 72);
AT(tw_secured_reflector_packet, mbz_5, 74);
AT(tw_secured_reflector_packet, sender_ttl, 80);
AT(tw_secured_reflector_packet, mbz_6, 81);
AT(tw_secured_reflector_packet, hmac, 96);
SIZE(tw_secured_reflector_packet, 112);

/* One offset serves request and reply (struct tw_layout). */
#define SAME(field, one, other)                                                                    \
    _Static_assert(offsetof(struct one, field) == offsetof(struct other, field), #one "." #field)
SAME(sequence_number, tw_sender_packet, tw_reflector_packet);
SAME(timestamp, tw_sender_packet, tw_reflector_packet);
SAME(error_estimate, tw_sender_packet, tw_reflector_packet);
SAME(sequence_number, tw_secured_sender_packet, tw_secured_reflector_packet);
SAME(timestamp, tw_secured_sender_packet, tw_secured_reflector_packet);
SAME(error_estimate, tw_secured_sender_packet, tw_secured_reflector_packet);
