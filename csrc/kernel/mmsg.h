/* io_mmsg.h: between reflector.c and io_mmsg.c; the first header that they include. */
#pragma once
#define _GNU_SOURCE 1 /* struct mmsghdr */
#include "kernel/kernel.h"

/* One batch, either received or to be sent. */
struct tw_io {
    struct mmsghdr headers[TW_BATCH];
    struct iovec vectors[TW_BATCH]; /* iov_base has TW_PACKET_MAX octets */
    union tw_sockaddr names[TW_BATCH];
    _Alignas(8) uint8_t controls[TW_BATCH][TW_CONTROL_OCTETS];
    uint8_t *storage;
    int used; /* by the last receive */
};

int tw_io_open(struct tw_io *io);
void tw_io_close(struct tw_io *io);
/* Up to TW_BATCH datagrams without waiting: how many, or -errno. */
int tw_io_receive(struct tw_io *io, int fd);
/* Packet i goes where the request came from, from where it was sent to, with that TOS. */
void tw_io_address(struct tw_io *io, int i, const struct msghdr *request, uint8_t tos,
                   const struct tw_rx *rx);
/* How many of count went out, in order; -errno is about the first alone. */
int tw_io_send(struct mmsghdr *headers, int fd, int count);
int tw_io_send_one(const struct msghdr *message, int fd); /* 0 or more, or -errno */
