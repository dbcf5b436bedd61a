/* pace.c: the barest sender: sleep until a packet is due, read the clock, send, read what came
 * back. Usage: pace FD PORT COUNT INTERVAL_NS: a UDP socket, and the port of 127.0.0.1 that
 * reflects. Prints: how late the packets were, median and 99th percentile in ns, CPU ns, and the
 * replies. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define LENGTH   41
#define LEAD_NS  20000000u /* before the first packet is due */
#define WAIT_US  500000    /* for the last replies */
#define NS_PER_S 1000000000u

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t due_ns)
{
    const struct timespec due = {
        .tv_sec = (time_t)(due_ns / NS_PER_S),
        .tv_nsec = (long)(due_ns % NS_PER_S),
    };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
        ;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static size_t drain(int fd, int flags)
{
    uint8_t packet[LENGTH];
    size_t replies = 0;

    while (recv(fd, packet, sizeof packet, flags) >= 0)
        replies++;
    return replies;
}

/* The replies that came, or -1. */
static long run(int fd, uint64_t *lateness_ns, size_t count, uint64_t interval_ns)
{
    uint8_t packet[LENGTH] = {0};
    const struct timeval patience = {.tv_usec = WAIT_US};
    const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC) + LEAD_NS;
    size_t replies = 0;

    for (size_t i = 0; i < count; i++) {
        const uint64_t due_ns = begin_ns + i * interval_ns;

        const uint32_t number = htonl((uint32_t)i);

        memcpy(packet, &number, sizeof number);
        packet[13] = 1; /* the multiplier of the Error Estimate is never 0 */
        sleep_until(due_ns);
        lateness_ns[i] = clock_ns(CLOCK_MONOTONIC) - due_ns;
        if (send(fd, packet, sizeof packet, 0) < 0)
            return -1;
        replies += drain(fd, MSG_DONTWAIT);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        return -1;
    return (long)(replies + drain(fd, 0));
}

int main(int argc, char **argv)
{
    struct sockaddr_in sink = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t *lateness_ns;
    size_t count;
    long replies;
    int fd;

    if (argc != 5)
        return 2;
    fd = atoi(argv[1]);
    sink.sin_port = htons((uint16_t)atoi(argv[2]));
    count = strtoul(argv[3], NULL, 10);
    lateness_ns = calloc(count, sizeof *lateness_ns);
    if (count == 0 || lateness_ns == NULL)
        return 2;
    prctl(PR_SET_TIMERSLACK, 1);
    replies = connect(fd, (const struct sockaddr *)&sink, sizeof sink) < 0
                  ? -1
                  : run(fd, lateness_ns, count, strtoull(argv[4], NULL, 10));
    if (replies < 0) {
        perror("pace");
        free(lateness_ns);
        return 1;
    }
    qsort(lateness_ns, count, sizeof *lateness_ns, ascending);
    printf("%llu %llu %llu %ld\n", (unsigned long long)lateness_ns[(count - 1) / 2],
           (unsigned long long)lateness_ns[(count * 99 + 99) / 100 - 1],
           (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID), replies);
    free(lateness_ns);
    return 0;
}
