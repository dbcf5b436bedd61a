/* wire.h: TWAMP-Test packets, octet for octet, and nothing else.
 *
 * Every field is made of octets, so the structs have alignment 1 and no padding, and a number can
 * only be read through octets.h: a forgotten byte swap does not compile.  cffi reads this file as
 * it stands (less the lines that begin with '#include', '#pragma', '#if' or '#endif'); layout.c
 * asserts the RFC's offsets. */
#pragma once
#include <stdint.h>

typedef struct {
    uint8_t octets[2];
} be16;

typedef struct {
    uint8_t octets[4];
} be32;

typedef struct {
    uint8_t octets[8];
} be64;

/* RFC 4656 section 4.1.2, unauthenticated mode: what a Session-Sender sends. */
struct tw_sender_packet {
    be32 sequence_number;
    be64 timestamp;
    be16 error_estimate;
};

/* RFC 5357 section 4.2.1, unauthenticated mode: what a Session-Reflector answers. */
struct tw_reflector_packet {
    be32 sequence_number;
    be64 timestamp;
    be16 error_estimate;
    uint8_t mbz_1[2];
    be64 receive_timestamp;
    be32 sender_sequence_number;
    be64 sender_timestamp;
    be16 sender_error_estimate;
    uint8_t mbz_2[2];
    uint8_t sender_ttl;
};

/* RFC 4656 section 4.1.2, authenticated and encrypted modes. */
struct tw_secured_sender_packet {
    be32 sequence_number;
    uint8_t mbz_1[12];
    be64 timestamp;
    be16 error_estimate;
    uint8_t mbz_2[6];
    uint8_t hmac[16];
};

/* RFC 5357 section 4.2.1 (112 octets by erratum 5045), authenticated and encrypted modes. */
struct tw_secured_reflector_packet {
    be32 sequence_number;
    uint8_t mbz_1[12];
    be64 timestamp;
    be16 error_estimate;
    uint8_t mbz_2[6];
    be64 receive_timestamp;
    uint8_t mbz_3[8];
    be32 sender_sequence_number;
    uint8_t mbz_4[12];
    be64 sender_timestamp;
    be16 sender_error_estimate;
    uint8_t mbz_5[6];
    uint8_t sender_ttl;
    uint8_t mbz_6[15];
    uint8_t hmac[16];
};
