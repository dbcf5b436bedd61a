/* sender_churn.c: for ThreadSanitizer: sessions that run while other threads read their statistics
 * and stop them, one way or the other; and rings, from which another thread collects meanwhile, at
 * times too slowly.  Exits 0 when the books of every session balance. */
#define _GNU_SOURCE 1
#include "api/sender.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SESSIONS 60
#define PACKETS  400
#define SPACE_NS 20000U
#define RINGS    12
#define ROWS     128 /* of a ring */
#define COPIES   32  /* rows of its duplicates */

struct session {
    struct tw_sender *sender;
    int over; /* atomic */
    int drain;
    uint64_t stop_after; /* packets; beyond PACKETS: never */
};

/* Answers every packet twice, until an empty one comes. */
static void *reflect(void *argument)
{
    int fd = *(int *)argument;
    uint8_t request[2048];
    struct sockaddr_in source;

    for (;;) {
        uint8_t reply[41] = {0};
        socklen_t length = sizeof source;
        ssize_t octets =
            recvfrom(fd, request, sizeof request, 0, (struct sockaddr *)&source, &length);
        if (octets == 0)
            return NULL;
        if (octets < 14)
            continue;
        reply[13] = 1;
        memcpy(reply + 24, request, 14);
        for (int i = 0; i < 2; i++)
            sendto(fd, reply, sizeof reply, 0, (struct sockaddr *)&source, length);
    }
}

static void *run(void *argument)
{
    struct session *session = argument;
    int slack_ns = prctl(PR_GET_TIMERSLACK);
    int result = tw_sender_run(session->sender);

    /* The thread is lent: it goes back as it came. */
    if (prctl(PR_GET_TIMERSLACK) != slack_ns)
        result = -EBADE;
    __atomic_store_n(&session->over, 1, __ATOMIC_RELEASE);
    return (void *)(intptr_t)result;
}

static void *watch(void *argument)
{
    struct session *session = argument;
    struct tw_sender_stats stats;

    while (!__atomic_load_n(&session->over, __ATOMIC_ACQUIRE)) {
        tw_sender_stats(session->sender, &stats);
        if (stats.sent >= session->stop_after) {
            tw_sender_stop(session->sender, session->drain);
            if (stats.sent & 1)
                tw_sender_stop(session->sender, 0);
        }
    }
    return NULL;
}

static int balances(const struct tw_sender_stats *stats, const struct tw_sample *samples)
{
    uint64_t accounted = stats->duplicates;

    for (int i = 1; i < TW_SENDER_DROP_COUNT; i++)
        accounted += stats->drops[i];
    for (int i = 0; i < PACKETS; i++)
        accounted += samples[i].rank != 0;
    return accounted == stats->received && stats->sent <= PACKETS;
}

static int bound(struct sockaddr_in *address)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) ||
        getsockname(fd, (struct sockaddr *)address, &length))
        exit(2);
    return fd;
}

static int churn(const struct tw_endpoint *peer, int number, uint64_t *schedule)
{
    static struct tw_sample samples[PACKETS], duplicates[PACKETS / 2];
    struct session session = {.drain = number % 2, .stop_after = (uint64_t)number * 10};
    struct tw_sender_stats stats;
    struct sockaddr_in address;
    struct timespec now;
    pthread_t threads[3];
    void *result;
    int fd = bound(&address);

    memset(samples, 0, sizeof samples);
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct tw_sender_config config = {
        .mode = TW_MODE_UNAUTHENTICATED,
        .schedule = schedule,
        .samples = samples,
        .duplicates = duplicates,
        .start_ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec,
        .loss_timeout_ns = 2000000,
        .peer = *peer,
        .count = PACKETS,
        .size = PACKETS,
        .duplicates_size = PACKETS / 2,
        .ttl = 255,
    };
    if (tw_sender_open(&config, fd, &session.sender))
        exit(2);
    pthread_create(&threads[0], NULL, run, &session);
    pthread_create(&threads[1], NULL, watch, &session);
    pthread_create(&threads[2], NULL, watch, &session);
    pthread_join(threads[0], &result);
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    tw_sender_stats(session.sender, &stats);
    tw_sender_close(session.sender);
    close(fd);
    return !result && balances(&stats, samples);
}

/* What another thread sees of a ring. */
struct collector {
    struct session session;
    struct tw_sample samples[ROWS], duplicates[COPIES];
    uint64_t schedule[ROWS];
    uint32_t collected;
    uint64_t copies;
    uint64_t answered;
    int dawdles;
    int failures;
};

static void collect_once(struct collector *collector)
{
    uint64_t copies;
    uint32_t settled = tw_sender_settled(collector->session.sender, &copies);

    for (; collector->collected < settled; collector->collected++) {
        const struct tw_sample *row = &collector->samples[collector->collected % ROWS];
        collector->failures += row->sequence_number != collector->collected;
        collector->answered += row->rank != 0;
        /* The row after next around. */
        collector->schedule[collector->collected % ROWS] =
            (collector->collected + ROWS) * (uint64_t)SPACE_NS;
    }
    for (; collector->copies < copies; collector->copies++)
        collector->failures +=
            collector->duplicates[collector->copies % COPIES].sequence_number >= PACKETS * 4;
}

static void *collect(void *argument)
{
    struct collector *collector = argument;
    const uint32_t all = PACKETS * 4;

    while (!__atomic_load_n(&collector->session.over, __ATOMIC_ACQUIRE)) {
        collect_once(collector);
        uint32_t until = collector->collected + ROWS < all ? collector->collected + ROWS : all;
        collector->failures +=
            tw_sender_schedule_until(collector->session.sender, until, collector->copies) != 0;
        collector->failures += tw_sender_schedule_until(collector->session.sender, all + 1,
                                                        collector->copies) != -EINVAL;
        usleep(collector->dawdles ? 5000 : 200);
    }
    collect_once(collector);
    return NULL;
}

/* Sends each packet once, and every reply is a sample, a duplicate or a drop. */
static int turn_ring(const struct tw_endpoint *peer, int number)
{
    static struct collector collector;
    struct tw_sender_stats stats;
    struct sockaddr_in address;
    struct timespec now;
    pthread_t threads[3];
    void *result;
    int fd = bound(&address);

    collector = (struct collector){.dawdles = number % 2, .session.stop_after = PACKETS * 8};
    for (uint64_t i = 0; i < ROWS; i++)
        collector.schedule[i] = i * SPACE_NS;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct tw_sender_config config = {
        .mode = TW_MODE_UNAUTHENTICATED,
        .schedule = collector.schedule,
        .samples = collector.samples,
        .duplicates = collector.duplicates,
        .start_ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec,
        .loss_timeout_ns = number % 3 ? 1000000 : 20000,
        .peer = *peer,
        .count = PACKETS * 4,
        .size = ROWS,
        .duplicates_size = COPIES,
        .ttl = 255,
    };
    if (tw_sender_open(&config, fd, &collector.session.sender))
        exit(2);
    pthread_create(&threads[0], NULL, run, &collector.session);
    pthread_create(&threads[1], NULL, collect, &collector);
    pthread_create(&threads[2], NULL, watch, &collector.session);
    pthread_join(threads[0], &result);
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    tw_sender_stats(collector.session.sender, &stats);
    tw_sender_close(collector.session.sender);
    close(fd);
    uint64_t accounted = collector.answered + stats.duplicates;
    for (int i = 1; i < TW_SENDER_DROP_COUNT; i++)
        accounted += stats.drops[i];
    if (result || accounted != stats.received || collector.collected != PACKETS * 4 ||
        stats.sent + stats.send_errors != PACKETS * 4 || collector.copies != stats.duplicates)
        collector.failures++;
    if (collector.dawdles && !stats.stalls)
        collector.failures++;
    return !collector.failures;
}

int main(void)
{
    struct sockaddr_in address;
    int reflector = bound(&address);
    struct tw_endpoint peer = {.port = ntohs(address.sin_port), .ip_version = 4};
    uint64_t schedule[PACKETS];
    pthread_t thread;
    int failures = 0;

    memcpy(peer.address, &address.sin_addr, 4);
    for (uint64_t i = 0; i < PACKETS; i++)
        schedule[i] = i * SPACE_NS;
    pthread_create(&thread, NULL, reflect, &reflector);
    for (int i = 0; i < SESSIONS; i++)
        failures += !churn(&peer, i, schedule);
    for (int i = 0; i < RINGS; i++)
        failures += !turn_ring(&peer, i);
    sendto(reflector, "", 0, 0, (struct sockaddr *)&address, sizeof address);
    pthread_join(thread, NULL);
    close(reflector);
    printf("%d sessions, %d failures\n", SESSIONS + RINGS, failures);
    return failures != 0;
}
