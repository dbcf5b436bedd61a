/* t3_error.c: see t3_error.h. */
#include "reflector/t3_error.h"
#include "kernel/clock.h"
#include "kernel/cmsg.h"
#include "kernel/options.h"
#include "kernel/stamp.h"

#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <unistd.h>

#define EVERY_NS       1000000u    /* a sample at most: two system calls more than without */
#define PATIENCE_NS    1000000000u /* a stamp that has not come by then is missed */
#define WINDOW         512u        /* samples */
#define MARGIN         8u /* an eighth less than the least: it is not to be later than the truth */
#define MOST_NS        ((1u << 30) - 1)
#define MOST_STALE     8 /* stamps read in one go */
#define TRIALS         128
#define MOST_UNSTAMPED 5000
#define MOST_ASKING_NS 2000 /* more is something else */
#define ENOUGH         4    /* stamps missed in a row: the device gives none */

/* ---- what T3 is corrected by */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ns later than the clock that was read. */
static void learn(struct tw_t3_error *t3_error, uint64_t ns)
{
    if (t3_error->samples % WINDOW == 0) {
        t3_error->least_ns[1] = t3_error->samples == 0 ? 0 : t3_error->least_ns[0];
        t3_error->least_ns[0] = UINT64_MAX;
    }
    t3_error->samples++;
    t3_error->least_ns[0] = smaller(t3_error->least_ns[0], ns);
    if (!t3_error->correct)
        return;
    ns = smaller(t3_error->least_ns[0],
                 t3_error->least_ns[1]); /* 0 until the first window is full */
    t3_error->correction_ns = (uint32_t)(smaller(ns, MOST_NS) - smaller(ns, MOST_NS) / MARGIN);
}

/* ---- samples */

/* One that stamps what leaves, if its clock is known, knows best. */
static uint32_t best_source(const struct tw_t3_error *t3_error)
{
    const struct tw_clock_models *models = t3_error->models;

    if (models != NULL && models->count == 1 && models->each[0].transmits && !t3_error->deserted)
        return TW_SOURCE_HARDWARE;
    return TW_SOURCE_KERNEL;
}

static void miss(struct tw_t3_error *t3_error)
{
    t3_error->waits_for = NULL;
    t3_error->missed++;
    if (++t3_error->missed_in_a_row >= ENOUGH && t3_error->source == TW_SOURCE_HARDWARE)
        t3_error->deserted = 1;
}

int tw_t3_error_choose(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids, int count,
                       uint64_t now_ns)
{
    if (t3_error->off)
        return -1;
    if (t3_error->due_ns > now_ns + PATIENCE_NS)
        t3_error->due_ns = now_ns; /* the clock has been set back */
    if (now_ns < t3_error->due_ns)
        return -1;
    if (t3_error->waits_for != NULL) {
        if (now_ns < t3_error->due_ns + PATIENCE_NS)
            return -1;
        miss(t3_error);
    }
    tw_t3_error_read(t3_error, fd, ids); /* none of those before is taken for the new one */
    t3_error->source = best_source(t3_error);
    t3_error->random = t3_error->random * 1664525u + 1013904223u;
    return (int)((uint64_t)t3_error->random * (unsigned)count >> 32);
}

void tw_t3_error_sent(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids,
                      uint64_t clock_ns)
{
    t3_error->due_ns = clock_ns + EVERY_NS;
    t3_error->clock_ns = clock_ns;
    t3_error->waits_for = ids;
    t3_error->waits_for_id = ids->next_id++;
    tw_t3_error_read(t3_error, fd, ids);
}

/* A reply that did not ask would have left sooner. */
static uint64_t without_asking(const struct tw_t3_error *t3_error, uint64_t ns)
{
    const uint64_t asking_ns = t3_error->source == TW_SOURCE_KERNEL ? t3_error->asking_ns : 0;

    return ns > asking_ns ? ns - asking_ns : 0;
}

static void take(struct tw_t3_error *t3_error, struct tw_stamp_ids *ids,
                 const struct tw_departure *departure)
{
    struct tw_stamp left = {.ns = t3_error->clock_ns, .source = TW_SOURCE_USER};

    if (t3_error->waits_for != ids || (ids->known && departure->id != t3_error->waits_for_id))
        return;
    ids->known = 1;
    ids->next_id = departure->id + 1;
    tw_stamp_choose(&left, &departure->stamps, t3_error->models, tw_clock_unix_ns(),
                    TW_PASSAGE_DEPARTURE);
    if (left.source != t3_error->source || left.ns < t3_error->clock_ns ||
        left.ns - t3_error->clock_ns > MOST_NS) {
        miss(t3_error); /* the clock was set in between, or the device's is unknown */
        return;
    }
    t3_error->waits_for = NULL;
    t3_error->missed_in_a_row = 0;
    t3_error->sample_ns = without_asking(t3_error, left.ns - t3_error->clock_ns);
    t3_error->sampled = 1;
}

void tw_t3_error_read(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CMSG_OCTETS];

    for (int i = 0; i < MOST_STALE; i++) {
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        struct tw_departure departure;

        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        if (tw_cmsg_read_departure(&message, &departure))
            take(t3_error, ids, &departure);
    }
}

int tw_t3_error_post(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats)
{
    const uint64_t corrected = t3_error->correction_ns;

    stats->missed += t3_error->missed;
    t3_error->missed = 0;
    if (!t3_error->sampled)
        return 0;
    t3_error->sampled = 0;
    if (stats->source != t3_error->source) { /* samples of two sources do not mix */
        stats->error = (struct tw_histogram){0};
        stats->early = 0;
        stats->source = t3_error->source;
    }
    stats->early += t3_error->sample_ns < corrected;
    tw_histogram_add(&stats->error,
                     t3_error->sample_ns < corrected ? 0 : t3_error->sample_ns - corrected);
    learn(t3_error, t3_error->sample_ns);
    stats->correction_ns = t3_error->correction_ns;
    return stats->error.samples % WINDOW == 0;
}

/* ---- what asking costs */

struct trials {
    uint64_t ns[TRIALS];
    int count;
};

static int ascending(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static uint64_t median(struct trials *trials)
{
    qsort(trials->ns, (size_t)trials->count, sizeof trials->ns[0], ascending);
    return trials->ns[trials->count / 2];
}

static int open_to_itself(void)
{
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof self;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && bind(fd, (struct sockaddr *)&self, sizeof self) == 0 &&
        getsockname(fd, (struct sockaddr *)&self, &length) == 0 &&
        connect(fd, (struct sockaddr *)&self, sizeof self) == 0 && tw_options_stamp_asked(fd) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* When the packet left, by the error queue if it asked, else when it came, which over loopback is
 * the same; 0 = that is not said. */
static uint64_t stamp_of(int fd, int asks)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CMSG_OCTETS];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    struct tw_departure departure = {0};
    struct tw_rx rx = {0};

    if (recvmsg(fd, &message, MSG_DONTWAIT) >= 0)
        tw_cmsg_read_arrival(&message, &rx);
    if (!asks)
        return rx.stamps.kernel_ns;
    message.msg_controllen = sizeof control;
    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 ||
        !tw_cmsg_read_departure(&message, &departure))
        return 0;
    return departure.stamps.kernel_ns;
}

static void try(int fd, int asks, struct trials *trials)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CMSG_OCTETS];
    struct msghdr message = {0};
    uint64_t clock_ns;
    uint64_t stamp_ns;

    if (asks) {
        message.msg_controllen = tw_cmsg_write_transmit_stamp(control, 0);
        message.msg_control = control;
    }
    clock_ns = tw_clock_unix_ns();
    if (sendmsg(fd, &message, MSG_DONTWAIT) < 0)
        return;
    stamp_ns = stamp_of(fd, asks);
    if (stamp_ns >= clock_ns)
        trials->ns[trials->count++] = stamp_ns - clock_ns;
}

void tw_t3_error_measure_asking(struct tw_t3_error *t3_error)
{
    struct trials trials[2] = {{.count = 0}, {.count = 0}};
    const int fd = open_to_itself();
    uint64_t plain_ns;
    uint64_t asking_ns;

    if (fd < 0)
        return;
    for (int i = 0; i < MOST_UNSTAMPED && trials[0].count == 0; i++)
        try(fd, 0, &trials[0]); /* the kernel stamps some milliseconds after it was asked to */
    trials[0].count = 0;
    for (int i = 0; i < TRIALS; i++) {
        try(fd, 0, &trials[0]);
        try(fd, 1, &trials[1]);
    }
    close(fd);
    if (trials[0].count < TRIALS / 2 || trials[1].count < TRIALS / 2)
        return;
    plain_ns = median(&trials[0]);
    asking_ns = median(&trials[1]);
    if (asking_ns > plain_ns && asking_ns - plain_ns <= MOST_ASKING_NS)
        t3_error->asking_ns = asking_ns - plain_ns;
}
