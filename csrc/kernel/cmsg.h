/* cmsg.h: the control messages (cmsgs) of datagrams, read and written. */
#pragma once
#include "api/cmsg.h"

#include <sys/socket.h>

#define TW_CMSG_OCTETS 256 /* room for every control message that we ask for */

/* On its way out a packet passes these points in turn; a stamp of each can be had. */
enum tw_transmit {
    TW_TRANSMIT_QUEUED = 1,  /* the kernel has it ready for the device: before packet captures */
    TW_TRANSMIT_KERNEL = 2,  /* the driver is about to hand it to the device */
    TW_TRANSMIT_HARDWARE = 4 /* it leaves the device, by the device's clock */
};

/* Reads the control messages of a received datagram. */
void tw_cmsg_read_arrival(struct msghdr *message, struct tw_rx *rx);
/* Reads a transmit stamp from a datagram of the error queue: 1; 0 for anything else. */
int tw_cmsg_read_departure(struct msghdr *message, struct tw_departure *departure);
/* Reads an error of a datagram that the path did not carry, from the error queue: 1, or 0. */
int tw_cmsg_read_icmp(struct msghdr *message, struct tw_icmp_error *icmp);

/* Each writes one message at control, which has room for it, and returns its length. */

/* IP_TOS or IPV6_TCLASS. */
size_t tw_cmsg_write_tos(void *control, int ip_version, uint8_t tos);
/* The packet leaves from the address that the packet of rx was sent to. */
size_t tw_cmsg_write_source(void *control, const struct tw_rx *rx);
/* Asks for transmit stamps of this packet, at some of enum tw_transmit. */
size_t tw_cmsg_write_transmit_stamp(void *control, uint32_t points);
/* UDP_SEGMENT: the payload leaves as segments of so many octets. */
size_t tw_cmsg_write_segment(void *control, uint16_t octets);
