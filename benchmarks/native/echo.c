/* echo.c: the barest reflector: what came goes back, octet for octet.  The same system calls and
 * the same control messages as ours (receive stamp, TTL, TOS), and nothing else. Usage: echo FD
 * CHUNK: a bound UDP socket, and packets per sendmmsg.  Ends with its parent. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <linux/net_tstamp.h>

#define BATCH   64
#define LONGEST 9000
#define CONTROL 256

struct batch {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_storage names[BATCH];
    uint8_t controls[BATCH][CONTROL];
    uint8_t octets[BATCH][LONGEST];
};

static int prepare(int fd)
{
    const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    const int on = 1, ttl = 255, buffer = 4 << 20;
    int family = AF_INET;
    socklen_t length = sizeof family;
    int failed;

    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (family == AF_INET6)
        failed = setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof ttl) < 0 ||
                 setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on) < 0 ||
                 setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on) < 0;
    else
        failed = setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl) < 0 ||
                 setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on) < 0 ||
                 setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) < 0;
    if (failed)
        return -1;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
}

static void lay_out(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){.iov_base = batch->octets[i], .iov_len = LONGEST};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->names[i],
            .msg_namelen = sizeof batch->names[i],
            .msg_iov = &batch->vectors[i],
            .msg_iovlen = 1,
            .msg_control = batch->controls[i],
            .msg_controllen = CONTROL,
        };
    }
}

static int receive(int fd, struct batch *batch, int used)
{
    for (int i = 0; i < used; i++) {
        batch->vectors[i].iov_len = LONGEST;
        batch->headers[i].msg_hdr.msg_namelen = sizeof batch->names[i];
        batch->headers[i].msg_hdr.msg_controllen = CONTROL;
    }
    return recvmmsg(fd, batch->headers, BATCH, MSG_WAITFORONE, NULL);
}

static int send_back(int fd, struct batch *batch, int count, int chunk)
{
    for (int i = 0; i < count; i++) {
        batch->vectors[i].iov_len = batch->headers[i].msg_len;
        batch->headers[i].msg_hdr.msg_controllen = 0;
    }
    for (int at = 0; at < count;) {
        const int left = count - at;
        const int sent =
            sendmmsg(fd, batch->headers + at, (unsigned)(left < chunk ? left : chunk), 0);

        if (sent < 0)
            return -1;
        at += sent;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct batch batch;
    const int fd = argc == 3 ? atoi(argv[1]) : -1;
    const int chunk = argc == 3 ? atoi(argv[2]) : 0;
    int count = BATCH;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (fd < 0 || chunk < 1 || prepare(fd) < 0) {
        perror("echo");
        return 2;
    }
    lay_out(&batch);
    for (;;) {
        count = receive(fd, &batch, count);
        if (count < 0 && errno == EINTR) {
            count = BATCH;
            continue;
        }
        if (count < 0 || send_back(fd, &batch, count, chunk) < 0) {
            perror("echo");
            return 1;
        }
    }
}
