/* sender_churn.c: for ThreadSanitizer: sessions that run while other threads read their statistics
 * and stop them, one way or the other.  Exits 0 when the books of every session balance. */
#define _GNU_SOURCE 1
#include "twamp.h"

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

static int churn(const struct tw_endpoint *peer, int number, const uint64_t *schedule)
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
    sendto(reflector, "", 0, 0, (struct sockaddr *)&address, sizeof address);
    pthread_join(thread, NULL);
    close(reflector);
    printf("%d sessions, %d failures\n", SESSIONS, failures);
    return failures != 0;
}
