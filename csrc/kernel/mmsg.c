/* mmsg.c: datagrams in batches, recvmmsg and sendmmsg.  The headers are prepared once; a call
 * only resets what the kernel or a longer packet changed. */
#include "kernel/mmsg.h"

#include <errno.h>
#include <stdlib.h>

/* A power of two would lay the first octets of all packets of a batch into one set of the cache. */
#define STRIDE (65536 + 192)

int tw_mmsg_open(struct tw_mmsg *io)
{
    io->storage = malloc((size_t)TW_BATCH * STRIDE);
    if (io->storage == NULL)
        return -ENOMEM;
    for (int i = 0; i < TW_BATCH; i++) {
        io->vectors[i].iov_base = io->storage + (size_t)i * STRIDE;
        io->vectors[i].iov_len = TW_PACKET_MAX;
        io->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &io->names[i],
            .msg_namelen = sizeof io->names[i],
            .msg_iov = &io->vectors[i],
            .msg_iovlen = 1,
            .msg_control = io->controls[i],
            .msg_controllen = TW_CMSG_OCTETS,
        };
    }
    return 0;
}

void tw_mmsg_close(struct tw_mmsg *io)
{
    free(io->storage);
    io->storage = NULL;
}

int tw_mmsg_receive(struct tw_mmsg *io, int fd)
{
    int count;

    for (int i = 0; i < io->used; i++) {
        io->headers[i].msg_hdr.msg_namelen = sizeof io->names[i];
        io->headers[i].msg_hdr.msg_controllen = TW_CMSG_OCTETS;
    }
    io->used = 0;
    count = recvmmsg(fd, io->headers, TW_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0)
        return -errno;
    io->used = count;
    return count;
}

void tw_mmsg_address(struct tw_mmsg *io, int i, const struct msghdr *request, uint8_t tos,
                     const struct tw_rx *rx)
{
    struct msghdr *message = &io->headers[i].msg_hdr;
    const union tw_sockaddr *peer = request->msg_name;

    io->names[i] = *peer;
    message->msg_namelen = request->msg_namelen;
    message->msg_controllen = 0;
    if (tos != 0)
        message->msg_controllen =
            tw_cmsg_write_tos(io->controls[i], peer->any.sa_family == AF_INET ? 4 : 6, tos);
    if (rx->asked_ip_version != 0)
        message->msg_controllen +=
            tw_cmsg_write_source(io->controls[i] + message->msg_controllen, rx);
}

int tw_mmsg_send(struct mmsghdr *headers, int fd, int count)
{
    const int sent = sendmmsg(fd, headers, (unsigned)count, MSG_DONTWAIT);

    return sent < 0 ? -errno : sent;
}

int tw_mmsg_send_one(const struct msghdr *message, int fd)
{
    return sendmsg(fd, message, MSG_DONTWAIT) < 0 ? -errno : 0;
}
