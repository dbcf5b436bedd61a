/* tap.c: captures the replies that leave by an interface, until SIGTERM, and compares the T3 in
 * each with when the kernel saw it pass, on its way to the driver.
 * Usage: tap INTERFACE PORT LENGTH: replies of so many octets from that UDP port of IPv4; several
 * in one packet are segments.  Says "ready" and at the end prints one object of JSON: replies,
 * early (that passed before their T3), and t3_error_ns (when they passed less T3, by percentile).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>

#define LONGEST        65536
#define MOST           4000000 /* replies */
#define RECEIVE_BUFFER (256 << 20)
#define PATIENCE_US    100000
#define UDP_HEADER     8
#define T3             4 /* offset in a reply */
#define NS_PER_S       1000000000ull
#define NTP_TO_UNIX    2208988800ull

static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
}

static int open_tap(const char *interface)
{
    const int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));
    const struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                        .sll_protocol = htons(ETH_P_ALL),
                                        .sll_ifindex = (int)if_nametoindex(interface)};
    const struct timeval patience = {.tv_usec = PATIENCE_US};
    const int buffer = RECEIVE_BUFFER, on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return -1;
    return fd;
}

static uint64_t passed_ns(struct msghdr *message)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    struct timespec stamp;

    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_TIMESTAMPNS)
        return 0;
    memcpy(&stamp, CMSG_DATA(header), sizeof stamp);
    return (uint64_t)stamp.tv_sec * NS_PER_S + (uint64_t)stamp.tv_nsec;
}

static uint64_t t3_ns(const uint8_t *reply)
{
    uint64_t ntp;

    memcpy(&ntp, reply + T3, sizeof ntp);
    ntp = be64toh(ntp);
    return ((ntp >> 32) - NTP_TO_UNIX) * NS_PER_S + ((ntp & 0xffffffffu) * NS_PER_S >> 32);
}

/* Adds the error of each reply in an IPv4 packet; how many there are now. */
static size_t add(int64_t *errors, size_t count, const uint8_t *packet, size_t octets,
                  const uint16_t *of, uint64_t at_ns)
{
    const size_t head = (size_t)(packet[0] & 15) * 4;
    uint16_t port;

    if (octets < head + UDP_HEADER || packet[9] != IPPROTO_UDP)
        return count;
    memcpy(&port, packet + head, sizeof port);
    if (ntohs(port) != of[0])
        return count;
    for (size_t at = head + UDP_HEADER; at + of[1] <= octets && count < MOST; at += of[1])
        errors[count++] = (int64_t)(at_ns - t3_ns(packet + at));
    return count;
}

static size_t capture(int fd, int64_t *errors, const uint16_t *of)
{
    static uint8_t packet[LONGEST];
    size_t count = 0;

    while (!ended) {
        _Alignas(struct cmsghdr) uint8_t control[256];
        struct sockaddr_ll address;
        struct iovec vector = {.iov_base = packet, .iov_len = sizeof packet};
        struct msghdr message = {.msg_name = &address,
                                 .msg_namelen = sizeof address,
                                 .msg_iov = &vector,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof control};
        const ssize_t octets = recvmsg(fd, &message, 0);

        if (octets < 20 || address.sll_pkttype != PACKET_OUTGOING ||
            address.sll_protocol != htons(ETH_P_IP))
            continue;
        count = add(errors, count, packet, (size_t)octets, of, passed_ns(&message));
    }
    return count;
}

static int ascending(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void print(int64_t *errors, size_t count)
{
    static const char *const names[] = {"1", "10", "50", "90", "99"};
    static const unsigned shares[] = {1, 10, 50, 90, 99};
    size_t early = 0;

    qsort(errors, count, sizeof *errors, ascending);
    while (early < count && errors[early] < 0)
        early++;
    printf("{\"replies\": %zu, \"early\": %zu, \"t3_error_ns\": {", count, early);
    for (size_t i = 0; i < sizeof shares / sizeof *shares && count > 0; i++)
        printf("%s\"%s\": %lld", i == 0 ? "" : ", ", names[i],
               (long long)errors[(count - 1) * shares[i] / 100]);
    printf("}}\n");
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = end};
    int64_t *errors = calloc(MOST, sizeof *errors);
    uint16_t of[2]; /* port, length of a reply */
    int fd;

    if (argc != 4 || errors == NULL)
        return 2;
    of[0] = (uint16_t)atoi(argv[2]);
    of[1] = (uint16_t)atoi(argv[3]);
    fd = open_tap(argv[1]);
    if (fd < 0 || of[1] == 0 || sigaction(SIGTERM, &action, NULL) < 0) {
        perror("tap");
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    print(errors, capture(fd, errors, of));
    return 0;
}
