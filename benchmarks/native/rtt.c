/* rtt.c: packets at a steady rate whatever comes back (an open loop), and how long each reply took.
 * Usage: rtt LENGTH RATE COUNT, with one flow on standard input: "FD ADDRESS PORT".  Reads the
 * clock before a send and after a receive, and never sleeps. Prints one object of JSON:
 * round_trip_ns by percentile, lost. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define LONGEST        9000
#define SHORTEST       41
#define ERROR_ESTIMATE 13 /* offset of its Multiplier, which is never 0 */
#define SENDER_NUMBER  24 /* offset in a reply; in an echo it is what stood there */
#define NS_PER_S       1000000000ull
#define LAST_NS        500000000u /* for the last reply to come */

struct probe {
    uint8_t packet[LONGEST];
    uint64_t *sent_ns;
    uint64_t *took_ns; /* 0 = no reply */
    uint64_t count;
    size_t length;
    int fd;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int connect_flow(struct probe *probe)
{
    struct sockaddr_in reflector = {.sin_family = AF_INET};
    char address[64];
    unsigned port;

    if (scanf("%d %63s %u", &probe->fd, address, &port) != 3 ||
        inet_pton(AF_INET, address, &reflector.sin_addr) != 1)
        return -1;
    reflector.sin_port = htons((uint16_t)port);
    return connect(probe->fd, (const struct sockaddr *)&reflector, sizeof reflector);
}

static int send_one(struct probe *probe, uint32_t number)
{
    const uint32_t wire = htonl(number);

    memcpy(probe->packet, &wire, sizeof wire);
    memcpy(probe->packet + SENDER_NUMBER, &wire, sizeof wire);
    probe->sent_ns[number] = now_ns();
    return send(probe->fd, probe->packet, probe->length, 0) < 0 ? -1 : 0;
}

/* What is there; -1 for an error. */
static int receive_all(struct probe *probe)
{
    static uint8_t reply[LONGEST];

    for (;;) {
        const ssize_t length = recv(probe->fd, reply, sizeof reply, MSG_DONTWAIT);
        const uint64_t came_ns = now_ns();
        uint32_t number;

        if (length < 0)
            return errno == EAGAIN ? 0 : -1;
        if (length < SHORTEST)
            continue;
        memcpy(&number, reply + SENDER_NUMBER, sizeof number);
        number = ntohl(number);
        if (number < probe->count && probe->took_ns[number] == 0)
            probe->took_ns[number] = came_ns - probe->sent_ns[number];
    }
}

static int run(struct probe *probe, uint64_t interval_ns)
{
    uint64_t due_ns = now_ns();

    for (uint64_t number = 0; number < probe->count; number++, due_ns += interval_ns) {
        do {
            if (receive_all(probe) < 0)
                return -1;
        } while (now_ns() < due_ns);
        if (send_one(probe, (uint32_t)number) < 0)
            return -1;
    }
    for (due_ns = now_ns() + LAST_NS; now_ns() < due_ns;) {
        if (receive_all(probe) < 0)
            return -1;
    }
    return 0;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void print(const struct probe *probe)
{
    static const char *const names[] = {"50", "75", "90", "99", "99.9"};
    static const unsigned shares[] = {500, 750, 900, 990, 999};
    uint64_t lost = 0;
    uint64_t came;

    qsort(probe->took_ns, probe->count, sizeof *probe->took_ns, ascending);
    while (lost < probe->count && probe->took_ns[lost] == 0)
        lost++;
    came = probe->count - lost;
    printf("{\"round_trip_ns\": {");
    for (size_t i = 0; i < sizeof shares / sizeof *shares && came > 0; i++)
        printf("%s\"%s\": %llu", i == 0 ? "" : ", ", names[i],
               (unsigned long long)probe->took_ns[lost + (came - 1) * shares[i] / 1000]);
    printf("}, \"lost\": %llu}\n", (unsigned long long)lost);
}

int main(int argc, char **argv)
{
    static struct probe probe;
    uint64_t rate;

    if (argc != 4)
        return 2;
    probe.length = strtoul(argv[1], NULL, 10);
    rate = strtoul(argv[2], NULL, 10);
    probe.count = strtoul(argv[3], NULL, 10);
    probe.sent_ns = calloc(probe.count, sizeof *probe.sent_ns);
    probe.took_ns = calloc(probe.count, sizeof *probe.took_ns);
    if (probe.length < SHORTEST || probe.length > LONGEST || rate == 0 || probe.count == 0 ||
        probe.sent_ns == NULL || probe.took_ns == NULL || connect_flow(&probe) < 0) {
        perror("rtt");
        return 2;
    }
    probe.packet[ERROR_ESTIMATE] = 1;
    if (run(&probe, NS_PER_S / rate) < 0) {
        perror("rtt");
        return 1;
    }
    print(&probe);
    return 0;
}
