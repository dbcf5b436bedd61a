/* types.h: what the other headers of api/ speak of.  cffi reads api/ as it stands (less the lines
 * that begin with '#' and are no integer define), so Python sees what C sees.
 * Structs cross by value, ids come back, statistics are copied out.  Functions return 0 or more, or
 * -errno, unless they say otherwise; nothing here logs, calls Python or makes a thread.  Structs
 * hold fixed-width types, widest first, with the padding written out. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifndef __SIZEOF_INT128__
#error "twamp needs a compiler with __int128, which those for 32-bit processors lack"
#endif

#define TW_PACKET_MAX 65507 /* the largest UDP payload over IPv4 */
#define TW_BATCH      64    /* packets taken from a socket in one call */

/* An IP address and a UDP port.  IPv4 stands in the first four octets. */
struct tw_endpoint {
    uint8_t address[16];
    uint32_t scope_id; /* IPv6 link-local only */
    uint16_t port;
    uint8_t ip_version; /* 4 or 6 */
    uint8_t reserved;
};

/* Addresses that begin alike; what stands behind the length does not matter. */
struct tw_prefix {
    uint8_t address[16]; /* IPv4 stands in the first four octets */
    uint8_t length;      /* bits: 0..32, 0..128 */
    uint8_t ip_version;  /* 4 or 6 */
};

/* How test packets are protected; mixed mode (8) does not protect them (RFC 5618 section 3.1). */
enum tw_mode { TW_MODE_UNAUTHENTICATED = 1, TW_MODE_AUTHENTICATED = 2, TW_MODE_ENCRYPTED = 4 };

/* The keys of one test session (RFC 4656 section 4.1.2). */
struct tw_test_keys {
    uint8_t aes[16];
    uint8_t hmac[32];
};

/* Where a timestamp came from. */
enum tw_source {
    TW_SOURCE_NONE = 0, /* no timestamp at all */
    TW_SOURCE_USER,     /* the clock, read by this program */
    TW_SOURCE_KERNEL,   /* SO_TIMESTAMPING, software */
    TW_SOURCE_HARDWARE, /* SO_TIMESTAMPING, the NIC */
    TW_SOURCE_COUNT
};
