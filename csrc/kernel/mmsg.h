/* mmsg.h: datagrams in batches.  Whoever includes this does so first: it asks for _GNU_SOURCE. */
#pragma once
#define _GNU_SOURCE 1 /* struct mmsghdr */
#include "kernel/address.h"
#include "kernel/cmsg.h"

/* One batch, either received or to be sent. */
struct tw_mmsg {
    struct mmsghdr headers[TW_BATCH];
    struct iovec vectors[TW_BATCH]; /* iov_base has TW_PACKET_MAX octets */
    union tw_sockaddr names[TW_BATCH];
    _Alignas(8) uint8_t controls[TW_BATCH][TW_CMSG_OCTETS];
    uint8_t *storage;
    int used; /* by the last receive */
};

int tw_mmsg_open(struct tw_mmsg *io);
void tw_mmsg_close(struct tw_mmsg *io);
/* Up to TW_BATCH datagrams without waiting: how many, or -errno. */
int tw_mmsg_receive(struct tw_mmsg *io, int fd);
/* Packet i goes where the request came from, from where it was sent to, with that TOS. */
void tw_mmsg_address(struct tw_mmsg *io, int i, const struct msghdr *request, uint8_t tos,
                     const struct tw_rx *rx);
/* How many of count went out, in order; -errno is about the first alone. */
int tw_mmsg_send(struct mmsghdr *headers, int fd, int count);
int tw_mmsg_send_one(const struct msghdr *message, int fd); /* 0 or more, or -errno */
