/* cmsg.h: the control messages (recvmsg) of a received or a departed packet. */
#pragma once
#include "api/types.h"

/* The stamps of one packet, as the kernel tells them (SO_TIMESTAMPING). */
struct tw_raw_stamps {
    uint64_t kernel_ns;   /* software stamp, Unix ns; 0 = none */
    uint64_t hardware_ns; /* hardware stamp, ns of the device's clock; 0 = none */
    uint32_t device;      /* index of the one that stamped; 0 = not said */
    uint32_t reserved;
};

/* A received datagram, by its control messages. */
struct tw_rx {
    struct tw_raw_stamps stamps;
    uint32_t overflows; /* datagrams that the socket had lost when this one came; modulo 2^32 */
    uint32_t interface; /* by which it came; 0 = not said */
    uint8_t asked[16];  /* the address that it was sent to */
    uint8_t asked_ip_version; /* 4 or 6; 0 = not said */
    uint8_t ttl;              /* 255 if absent */
    uint8_t tos;
    uint8_t truncated; /* MSG_CTRUNC */
};

/* Reads any octets at any alignment; what is not exactly a message that we know is passed over. */
void tw_cmsg_parse(const uint8_t *control, size_t length, struct tw_rx *rx);

/* A packet that has left, by the error queue. */
struct tw_departure {
    struct tw_raw_stamps stamps;
    uint32_t id;     /* which of the socket's stamped packets it was */
    uint32_t queued; /* 1 = so far it is ready for the device (SCM_TSTAMP_SCHED), 0 = it has left */
};

/* What the path says of a packet that it did not carry. */
enum tw_icmp {
    TW_ICMP_TOO_BIG = 1,      /* longer than the path's MTU, and not to be fragmented */
    TW_ICMP_PORT_UNREACHABLE, /* nobody has the port */
    TW_ICMP_PROHIBITED,       /* administratively: a firewall that says so */
    TW_ICMP_UNREACHABLE,      /* no way to the host or its network */
    TW_ICMP_OTHER,            /* TTL exceeded and the like */
    TW_ICMP_COUNT
};

struct tw_icmp_error {
    struct tw_endpoint source; /* the host or router that says it; ip_version 0 = not said */
    uint32_t kind;             /* enum tw_icmp; 0 = the kernel itself refused the send */
    uint32_t mtu;              /* of the path, where it is said; else 0 */
};

/* Reads an ICMP error, or the kernel's own about a length: 1, or 0 when the octets are something
 * else. */
int tw_cmsg_parse_icmp(const uint8_t *control, size_t length, struct tw_icmp_error *icmp);
/* Reads a transmit stamp: 1, or 0 when the octets are something else. */
int tw_cmsg_parse_departure(const uint8_t *control, size_t length, struct tw_departure *departure);
