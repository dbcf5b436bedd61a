/* load.c: asks a reflector for all it can do: a closed loop with a fixed number of packets in
 * flight, bounded in packets and in time.
 * Usage: load FD PORT LENGTH IN_FLIGHT COUNT SECONDS: a UDP socket bound to 127.0.0.1, and where on
 * 127.0.0.1 the reflector is.  With a further argument, the octets of a packet in hexadecimal, that
 * one is sent again and again, as it stands: a packet that is sealed.
 * Prints: replies, elapsed ns, lost packets.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH          64
#define LONGEST        9000
#define SHORTEST       14
#define REPLY_HEAD     41
#define ERROR_ESTIMATE 13         /* offset of its Multiplier, which is never 0 */
#define PATIENCE_NS    500000000u /* without a reply: what was in flight is lost */
#define RECEIVE_BUFFER (4 << 20)

struct load {
    struct mmsghdr tx[BATCH];
    struct mmsghdr rx[BATCH];
    struct iovec tx_vectors[BATCH];
    struct iovec rx_vectors[BATCH];
    uint8_t requests[BATCH][LONGEST];
    uint8_t replies[BATCH][LONGEST];
    unsigned reply_length;
    uint32_t sequence_number;
    int is_sealed;
    uint64_t received;
    uint64_t lost;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int prepare(int fd, unsigned port)
{
    const int buffer = RECEIVE_BUFFER;
    const struct sockaddr_in reflector = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    return connect(fd, (const struct sockaddr *)&reflector, sizeof reflector);
}

static void lay_out(struct load *load, size_t length)
{
    load->reply_length = (unsigned)(length < REPLY_HEAD ? REPLY_HEAD : length);
    for (int i = 0; i < BATCH; i++) {
        load->requests[i][ERROR_ESTIMATE] = 1;
        load->tx_vectors[i] = (struct iovec){.iov_base = load->requests[i], .iov_len = length};
        load->rx_vectors[i] = (struct iovec){.iov_base = load->replies[i], .iov_len = LONGEST};
        load->tx[i].msg_hdr = (struct msghdr){.msg_iov = &load->tx_vectors[i], .msg_iovlen = 1};
        load->rx[i].msg_hdr = (struct msghdr){.msg_iov = &load->rx_vectors[i], .msg_iovlen = 1};
    }
}

static int copy_sealed(struct load *load, const char *text, size_t length)
{
    load->is_sealed = 1;
    for (size_t at = 0; at < length; at++) {
        unsigned octet;

        if (sscanf(text + 2 * at, "%2x", &octet) != 1)
            return -1;
        for (int i = 0; i < BATCH; i++)
            load->requests[i][at] = (uint8_t)octet;
    }
    return 0;
}

/* All of them or -1. */
static int send_packets(struct load *load, int fd, int count)
{
    while (count > 0) {
        const int chunk = count < BATCH ? count : BATCH;
        int sent;

        for (int i = 0; i < chunk && !load->is_sealed; i++) {
            const uint32_t number = htonl(load->sequence_number + (uint32_t)i);

            memcpy(load->requests[i], &number, sizeof number);
        }
        sent = sendmmsg(fd, load->tx, (unsigned)chunk, 0);
        if (sent < 0)
            return -1;
        load->sequence_number += (uint32_t)sent;
        count -= sent;
    }
    return 0;
}

/* How many replies came, 0 when none did in time; -1 for an error or a reply of a wrong length.
 * Does not sleep: a wake-up would be a pause for the reflector. */
static int receive_replies(struct load *load, int fd)
{
    const uint64_t deadline_ns = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
    int count;

    do
        count = recvmmsg(fd, load->rx, BATCH, MSG_DONTWAIT, NULL);
    while (count < 0 && errno == EAGAIN && clock_ns(CLOCK_MONOTONIC) < deadline_ns);
    if (count < 0)
        return errno == EAGAIN ? 0 : -1;
    for (int i = 0; i < count; i++) {
        if (load->rx[i].msg_len != load->reply_length) {
            errno = EBADMSG;
            return -1;
        }
    }
    load->received += (uint64_t)count;
    return count;
}

/* Keeps the number in flight until there is enough, then waits for those that still fly. */
static int run(struct load *load, int fd, int in_flight, uint64_t count, uint64_t deadline_ns)
{
    int flying = 0;
    int enough = 0;

    while (!enough || flying > 0) {
        int replies;

        enough = enough || load->received + (uint64_t)flying >= count ||
                 clock_ns(CLOCK_MONOTONIC) >= deadline_ns;
        if (!enough) {
            if (send_packets(load, fd, in_flight - flying) < 0)
                return -1;
            flying = in_flight;
        }
        replies = receive_replies(load, fd);
        if (replies < 0)
            return -1;
        if (replies == 0)
            load->lost += (uint64_t)flying;
        flying = replies == 0 || replies > flying ? 0 : flying - replies;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct load load;
    unsigned long numbers[6];
    uint64_t begin_ns;
    int fd;

    if (argc != 7 && argc != 8)
        return 2;
    for (int i = 0; i < 6; i++)
        numbers[i] = strtoul(argv[i + 1], NULL, 10);
    fd = (int)numbers[0];
    if (numbers[2] < SHORTEST || numbers[2] > LONGEST || prepare(fd, (unsigned)numbers[1]) < 0) {
        perror("load");
        return 2;
    }
    lay_out(&load, numbers[2]);
    if (argc == 8 &&
        (strlen(argv[7]) != 2 * numbers[2] || copy_sealed(&load, argv[7], numbers[2]) < 0)) {
        fprintf(stderr, "load: no packet of that length in hexadecimal\n");
        return 2;
    }
    begin_ns = clock_ns(CLOCK_MONOTONIC);
    if (run(&load, fd, (int)numbers[3], numbers[4], begin_ns + numbers[5] * 1000000000u) < 0) {
        perror("load");
        return 1;
    }
    printf("%llu %llu %llu\n", (unsigned long long)load.received,
           (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - begin_ns),
           (unsigned long long)load.lost);
    return 0;
}
