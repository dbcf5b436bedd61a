/* options.h: the options of a UDP socket.  Functions return 0, or -errno. */
#pragma once
#include <stdint.h>

/* Sets the TTL of what leaves, asks for TTL, TOS and lost datagrams of what comes, and for a buffer
 * of so many octets (0 = leave the system's).  -EINVAL: no UDP socket of that IP version. */
int tw_options_prepare(int fd, int ip_version, uint32_t receive_buffer, uint8_t ttl);
int tw_options_set_dscp(int fd, int ip_version, uint8_t dscp);
/* ICMP errors about packets of the socket go to its error queue. */
int tw_options_report_errors(int fd, int ip_version);
/* Sets DF; packets leave at any length that the interface takes, whatever the path's MTU is
 * thought to be. */
int tw_options_forbid_fragments(int fd, int ip_version);
/* Each packet comes with the address that it was sent to; -EINVAL for IPv6 without IPV6_V6ONLY. */
int tw_options_tell_asked(int fd, int ip_version);

/* Datagrams lost so far because the receive buffer was full. */
uint32_t tw_options_overflows(int fd);
/* Octets that the kernel grants to packets. */
uint32_t tw_options_receive_buffer(int fd);

/* Receive stamps of the kernel. */
int tw_options_stamp_receive(int fd);
/* The same, and transmit stamps of packets that ask for one (tw_cmsg_write_transmit_stamp); these
 * come on the error queue, numbered from 0. */
int tw_options_stamp_asked(int fd);
/* The same, and stamps of the device, with its index. */
int tw_options_stamp_hardware(int fd);
/* Receive stamps, and a transmit stamp of every packet, numbered from 0, on the error queue. */
int tw_options_stamp_both(int fd);
/* The same, and stamps of the device. */
int tw_options_stamp_everything(int fd);
int tw_options_stamp_nothing(int fd);

/* Opens a socket that is never read: as long as one socket wants stamps the kernel takes them for
 * all, so that a new socket has them from its first packet on.  Returns the descriptor; a kernel
 * that refuses stamps is an error only if they are a must. */
int tw_options_keep_stamping(int must);
