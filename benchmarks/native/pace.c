/* pace.c: the barest timer loop: sleep until a packet is due, read the clock, send.
 * Usage: pace FD PORT COUNT INTERVAL_NS: a UDP socket, and a port of 127.0.0.1 where packets end.
 * Prints: how late the packets were, median and 99th percentile in ns, and CPU ns in all. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define LENGTH   41
#define LEAD_NS  20000000u /* before the first packet is due */
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

static int run(int fd, uint64_t *lateness_ns, size_t count, uint64_t interval_ns)
{
    static const uint8_t packet[LENGTH];
    const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC) + LEAD_NS;

    for (size_t i = 0; i < count; i++) {
        const uint64_t due_ns = begin_ns + i * interval_ns;

        sleep_until(due_ns);
        lateness_ns[i] = clock_ns(CLOCK_MONOTONIC) - due_ns;
        if (send(fd, packet, sizeof packet, 0) < 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in sink = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t *lateness_ns;
    size_t count;
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
    if (connect(fd, (const struct sockaddr *)&sink, sizeof sink) < 0 ||
        run(fd, lateness_ns, count, strtoull(argv[4], NULL, 10)) < 0) {
        perror("pace");
        free(lateness_ns);
        return 1;
    }
    qsort(lateness_ns, count, sizeof *lateness_ns, ascending);
    printf("%llu %llu %llu\n", (unsigned long long)lateness_ns[(count - 1) / 2],
           (unsigned long long)lateness_ns[(count * 99 + 99) / 100 - 1],
           (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    free(lateness_ns);
    return 0;
}
