/* engine.h: between the files of the engine.  Python does not see it. */
#pragma once
#include "octets.h"
#include "twamp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define TW_NS_PER_S       1000000000u
#define TW_CONTROL_OCTETS 256 /* room for every control message that we ask for */

union tw_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* clock.c */
uint64_t tw_clock_unix_ns(void);      /* CLOCK_REALTIME */
uint64_t tw_clock_monotonic_ns(void); /* CLOCK_MONOTONIC */
/* A stamp is believed when it is not zero, not later than now_ns and at most 10 s older. */
int tw_clock_believes(uint64_t stamp_ns, uint64_t now_ns);

/* socket.c */
socklen_t tw_socket_address(const struct tw_endpoint *endpoint, union tw_sockaddr *address);
int tw_socket_endpoint(const union tw_sockaddr *address, struct tw_endpoint *endpoint);
int tw_socket_prepare(int fd, int ip_version, uint32_t receive_buffer, uint8_t ttl);
uint32_t tw_socket_overflows(int fd); /* datagrams lost so far for want of receive buffer */
int tw_socket_stamp_receive(int fd);  /* software receive stamps */
int tw_socket_stamp_nothing(int fd);
int tw_socket_stamp_both(int fd); /* and transmit stamps, numbered from 0, on the error queue */
int tw_socket_set_dscp(int fd, int ip_version, uint8_t dscp);
void tw_socket_read_control(struct msghdr *message, struct tw_rx *rx);
/* Asks for the address that each packet was sent to: for a socket that is bound to any. */
int tw_socket_tell_address(int fd, int ip_version);
/* Writes into control (TW_CONTROL_OCTETS) an IP_TOS or IPV6_TCLASS message unless tos is 0, and the
 * source address unless it is unknown; returns the length. */
size_t tw_socket_write_control(void *control, int ip_version, uint8_t tos,
                               const struct tw_rx *source);
/* A transmit stamp from an error-queue datagram: 1 and its (id, Unix ns); 0 for anything else. */
int tw_socket_read_departure(struct msghdr *message, uint32_t *id, uint64_t *unix_ns);
/* A socket whose only use is to exist: the kernel stamps from the first packet on while it does. */
int tw_socket_keep_stamping(int must);
