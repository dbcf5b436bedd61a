/* reflector_churn.c: for ThreadSanitizer: sessions come, start, finish and go, from two threads at
 * once, on ports that come and go with them, with light ones among them, while others flood, change
 * the limits and look at the statistics.  Exits 0 when every sum held, everything was tried and
 * nothing is left; prints what was done. */
#include "api/reflector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS 6
#define PEERS 2
#define OWN   (PORTS * PEERS) /* sessions of one peer; behind them light ones of half the ports */
#define SESSIONS (OWN + PORTS / 2)
#define STEPS    40000 /* of each controller */
#define LATER    UINT64_MAX

struct bench {
    struct tw_reflector *reflector;
    struct sockaddr_in ports[PORTS];
    struct sockaddr_in peers[PEERS];
    int port_fds[PORTS];
    int peer_fds[PEERS];
    atomic_int over;
    atomic_ullong added, existing, absent, started, removed, stale, snapshots, wrong;
    atomic_ullong light, looks;
};

struct controller {
    struct bench *bench;
    uint64_t random;
    int64_t ids[SESSIONS]; /* -1: not ours */
};

static int bound(struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof *address;

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        exit(2);
    return fd;
}

static struct tw_endpoint endpoint_of(const struct sockaddr_in *address)
{
    struct tw_endpoint endpoint = {.port = ntohs(address->sin_port), .ip_version = 4};

    memcpy(endpoint.address, &address->sin_addr, sizeof address->sin_addr);
    return endpoint;
}

static uint32_t below(struct controller *controller, uint32_t bound_to)
{
    uint64_t *state = &controller->random;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 33) % bound_to;
}

static void add(struct controller *controller, uint32_t session)
{
    struct bench *bench = controller->bench;
    const uint32_t port = session % PORTS;
    const struct tw_session_config config = {
        .mode = (uint8_t)(1u << session % 3), /* all three */
        .keys = {.aes = {1}, .hmac = {2}},
        .local = endpoint_of(&bench->ports[port]),
        .peer = endpoint_of(&bench->peers[session / PORTS % PEERS]),
        .dscp = (uint8_t)(session % 2 * 46),
    };
    const int fd = below(controller, 2) ? bench->port_fds[port] : -1;
    const int64_t id = session < OWN ? tw_reflector_add(bench->reflector, &config, fd)
                                     : tw_reflector_add_light(bench->reflector, &config.local, fd);

    if (id >= 0) {
        controller->ids[session] = id;
        atomic_fetch_add(&bench->light, session >= OWN);
        atomic_fetch_add(&bench->added, 1);
    } else if (id == -EEXIST) {
        atomic_fetch_add(&bench->existing, 1); /* the other controller has it */
    } else if (id == -ENOENT && fd < 0) {
        atomic_fetch_add(&bench->absent, 1); /* no socket there now */
    } else {
        atomic_fetch_add(&bench->wrong, 1);
    }
}

static void remove_session(struct controller *controller, uint32_t session)
{
    struct bench *bench = controller->bench;
    const int64_t id = controller->ids[session];

    if (tw_reflector_remove(bench->reflector, id) == 0)
        atomic_fetch_add(&bench->removed, 1);
    else
        atomic_fetch_add(&bench->wrong, 1);
    if (tw_reflector_start(bench->reflector, id) == -ENOENT)
        atomic_fetch_add(&bench->stale, 1);
    controller->ids[session] = -1;
}

static void look(struct controller *controller, uint32_t session)
{
    struct tw_session_stats stats;

    if (tw_reflector_session_stats(controller->bench->reflector, controller->ids[session],
                                   &stats) != 0 ||
        stats.received != stats.reflected + stats.dropped)
        atomic_fetch_add(&controller->bench->wrong, 1);
}

static void look_at_all(struct controller *controller)
{
    struct bench *bench = controller->bench;
    struct tw_session_stats stats[SESSIONS];
    uint8_t found[SESSIONS];
    int known = 0;

    for (uint32_t session = 0; session < SESSIONS; session++)
        known += controller->ids[session] >= 0;
    if (tw_reflector_session_stats_of(bench->reflector, controller->ids, SESSIONS, stats, found) !=
        known)
        atomic_fetch_add(&bench->wrong, 1);
    for (uint32_t session = 0; session < SESSIONS; session++) {
        if (found[session] != (controller->ids[session] >= 0) ||
            stats[session].received != stats[session].reflected + stats[session].dropped)
            atomic_fetch_add(&bench->wrong, 1);
    }
    atomic_fetch_add(&bench->looks, 1);
}

static void *control(void *argument)
{
    struct controller *controller = argument;
    struct tw_reflector *reflector = controller->bench->reflector;

    for (int step = 0; step < STEPS; step++) {
        const uint32_t session = below(controller, SESSIONS);
        const int64_t id = controller->ids[session];

        if (id < 0)
            add(controller, session);
        else if (below(controller, 3) == 0)
            remove_session(controller, session);
        else if (below(controller, 3) == 0)
            tw_reflector_finish(reflector, id, below(controller, 2) ? 0 : LATER);
        else if (below(controller, 2) && tw_reflector_start(reflector, id) == 0)
            atomic_fetch_add(&controller->bench->started, 1);
        else if (below(controller, 2))
            look(controller, session);
        else
            look_at_all(controller);
    }
    for (uint32_t session = 0; session < SESSIONS; session++) {
        if (controller->ids[session] >= 0)
            remove_session(controller, session);
    }
    return NULL;
}

static void *flood(void *argument)
{
    struct bench *bench = argument;
    uint8_t packet[60] = {[13] = 1};
    uint8_t reply[sizeof packet];

    for (uint32_t i = 0; !atomic_load(&bench->over); i++) {
        const int fd = bench->peer_fds[i % PEERS];

        sendto(fd, packet, i % 16 ? sizeof packet : 3, 0,
               (struct sockaddr *)&bench->ports[i / PEERS % PORTS], sizeof bench->ports[0]);
        while (recv(fd, reply, sizeof reply, MSG_DONTWAIT) > 0)
            ;
    }
    return NULL;
}

static uint64_t sum_of_drops(const struct tw_reflector_stats *stats)
{
    uint64_t sum = 0;

    for (int i = 0; i < TW_DROP_COUNT; i++)
        sum += stats->drops[i];
    return sum;
}

/* Every packet is accounted for, and no counter ever falls. */
static int is_right(const struct tw_reflector_stats *stats, const struct tw_reflector_stats *former)
{
    for (int i = 0; i < TW_COUNTER_COUNT; i++) {
        if (stats->counters[i] < former->counters[i])
            return 0;
    }
    return stats->received == stats->reflected + sum_of_drops(stats) &&
           stats->counters[TW_COUNTER_SEGMENTED] <= stats->reflected;
}

/* No limit and no list, one of them, or both. */
static void change_limits(struct tw_reflector *reflector, uint32_t step)
{
    const struct tw_prefix nobody_here = {.address = {10}, .length = 8, .ip_version = 4};

    tw_reflector_set_rate_limit(reflector, step % 2 ? 1000 : 0);
    tw_reflector_set_light_clients(reflector, &nobody_here, step / 2 % 2);
    tw_reflector_nudge(reflector);
}

static void *watch(void *argument)
{
    struct bench *bench = argument;
    const struct timespec pause = {.tv_nsec = 50000};
    struct tw_reflector_stats stats, former = {0};

    for (uint32_t step = 0; !atomic_load(&bench->over); step++) {
        change_limits(bench->reflector, step);
        tw_reflector_stats(bench->reflector, &stats);
        if (!is_right(&stats, &former))
            atomic_fetch_add(&bench->wrong, 1);
        former = stats;
        atomic_fetch_add(&bench->snapshots, 1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *run(void *argument)
{
    return (void *)(intptr_t)tw_reflector_run(argument);
}

static void prepare(struct bench *bench, struct controller *controllers)
{
    const struct tw_reflector_config config = {
        .hash_seed = 42, .maximum_sessions = SESSIONS, .tx_batch = 2};

    if (tw_reflector_open(&config, &bench->reflector) < 0)
        exit(2);
    for (int i = 0; i < PORTS; i++)
        bench->port_fds[i] = bound(&bench->ports[i]);
    for (int i = 0; i < PEERS; i++)
        bench->peer_fds[i] = bound(&bench->peers[i]);
    for (uint64_t i = 0; i < 2; i++) {
        controllers[i] = (struct controller){.bench = bench, .random = 20180 + i};
        memset(controllers[i].ids, 0xff, sizeof controllers[i].ids);
    }
}

/* What was done, and whether it was enough and right. */
static int judge(const struct bench *bench, const struct tw_reflector_stats *stats)
{
    printf("added %llu, in use %llu, absent %llu, started %llu, removed %llu, stale %llu\n",
           bench->added, bench->existing, bench->absent, bench->started, bench->removed,
           bench->stale);
    printf("light %llu, looks at all %llu, over the limit %llu, not on the list %llu\n",
           bench->light, bench->looks, (unsigned long long)stats->drops[TW_DROP_RATE_LIMIT],
           (unsigned long long)stats->drops[TW_DROP_CLIENT_LIST]);
    printf("received %llu, reflected %llu, drops %llu, snapshots %llu, left %u+%u, wrong %llu\n",
           (unsigned long long)stats->received, (unsigned long long)stats->reflected,
           (unsigned long long)sum_of_drops(stats), bench->snapshots, stats->sessions,
           stats->sockets, bench->wrong);
    return bench->wrong == 0 && bench->added == bench->removed && bench->added == bench->stale &&
           bench->added > 1000 && bench->existing > 100 && bench->absent > 0 &&
           bench->started > 1000 && bench->snapshots > 10 && stats->reflected > 100 &&
           stats->drops[TW_DROP_NO_SESSION] > 0 && stats->drops[TW_DROP_NOT_STARTED] > 0 &&
           stats->drops[TW_DROP_STOPPED] > 0 && stats->drops[TW_DROP_SHORT] > 0 &&
           stats->drops[TW_DROP_RATE_LIMIT] > 0 && stats->drops[TW_DROP_CLIENT_LIST] > 0 &&
           bench->light > 100 && bench->looks > 100 && stats->counters[TW_COUNTER_TURNS] > 100 &&
           stats->received == stats->reflected + sum_of_drops(stats) && stats->sessions == 0;
}

int main(void)
{
    static struct bench bench;
    static struct controller controllers[2];
    struct tw_reflector_stats stats;
    pthread_t loop, flooder, watcher, control_threads[2];
    void *result;
    int good;

    prepare(&bench, controllers);
    pthread_create(&loop, NULL, run, bench.reflector);
    pthread_create(&flooder, NULL, flood, &bench);
    pthread_create(&watcher, NULL, watch, &bench);
    for (int i = 0; i < 2; i++)
        pthread_create(&control_threads[i], NULL, control, &controllers[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(control_threads[i], NULL);
    atomic_store(&bench.over, 1);
    pthread_join(flooder, NULL);
    pthread_join(watcher, NULL);
    tw_reflector_stop(bench.reflector);
    pthread_join(loop, &result);
    tw_reflector_stats(bench.reflector, &stats);
    good = judge(&bench, &stats) && result == NULL;
    tw_reflector_close(bench.reflector);
    for (int i = 0; i < PORTS; i++)
        close(bench.port_fds[i]);
    for (int i = 0; i < PEERS; i++)
        close(bench.peer_fds[i]);
    return !good;
}
