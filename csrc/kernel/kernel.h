/* kernel.h: between the files of the engine.  Python does not see it. */
#pragma once
#include "packet/octets.h"
#include "api/clock.h"
#include "api/cmsg.h"
#include "api/types.h"

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

struct tw_clock_models {
    struct tw_clock_model each[TW_CLOCK_MODELS_MAX];
    uint32_t count;
};

/* A hardware stamp of that device (0 = the only one) as Unix ns, 0 when it cannot be: its clock is
 * unknown, or it is later than latest_ns, or much earlier. */
uint64_t tw_clock_of_device(const struct tw_clock_models *models, uint32_t device,
                            uint64_t device_ns, uint64_t latest_ns);
int tw_clock_models_set(struct tw_clock_models *models, const struct tw_clock_model *each,
                        uint32_t count); /* -EINVAL for too many */
/* The worst of them. */
uint64_t tw_clock_models_error_ns(const struct tw_clock_models *models);

/* cmsg.c */
socklen_t tw_socket_address(const struct tw_endpoint *endpoint, union tw_sockaddr *address);
int tw_socket_endpoint(const union tw_sockaddr *address, struct tw_endpoint *endpoint);
int tw_socket_prepare(int fd, int ip_version, uint32_t receive_buffer, uint8_t ttl);
uint32_t tw_socket_overflows(int fd); /* datagrams lost so far for want of receive buffer */
int tw_socket_stamp_receive(int fd);  /* software receive stamps */
/* Software receive stamps, and transmit stamps of what asks for them by
 * tw_socket_write_transmit_stamp: numbered from 0, on the error queue. */
int tw_socket_stamp_asked(int fd);
int tw_socket_stamp_hardware(int fd); /* the same, and those of the device, with its index */
int tw_socket_stamp_nothing(int fd);
int tw_socket_stamp_both(int fd); /* and transmit stamps, numbered from 0, on the error queue */
int tw_socket_stamp_everything(int fd); /* the same, and those of the device */
int tw_socket_set_dscp(int fd, int ip_version, uint8_t dscp);
/* Every packet says the address that it was sent to; -EINVAL for IPv6 without IPV6_V6ONLY. */
int tw_socket_tell_asked(int fd, int ip_version);
void tw_socket_read_control(struct msghdr *message, struct tw_rx *rx);
/* Writes an IP_TOS or IPV6_TCLASS message into control (TW_CONTROL_OCTETS); returns its length. */
size_t tw_socket_write_tos(void *control, int ip_version, uint8_t tos);
/* The same for where a reply leaves from: the address that the packet of rx was sent to. */
size_t tw_socket_write_source(void *control, const struct tw_rx *rx);
/* Writes a message that asks for a transmit stamp of this packet; returns its length. */
size_t tw_socket_write_transmit_stamp(void *control, int hardware);
/* Writes a UDP_SEGMENT message, for segments of so many octets; returns its length. */
size_t tw_socket_write_segment(void *control, uint16_t octets);
uint32_t tw_socket_receive_buffer(int fd); /* octets that the kernel grants to packets */
/* A transmit stamp from an error-queue datagram: 1; 0 for anything else. */
int tw_socket_read_departure(struct msghdr *message, struct tw_departure *departure);
/* A socket whose only use is to exist: the kernel stamps from the first packet on while it does.
 * Only if stamps are a must, a kernel that refuses them is an error. */
int tw_socket_keep_stamping(int must);
