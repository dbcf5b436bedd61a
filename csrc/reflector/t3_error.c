/* t3_error.c: see t3_error.h. */
#include "reflector/t3_error.h"
#include "kernel/clock.h"
#include "kernel/cmsg.h"
#include "kernel/options.h"
#include "kernel/stamp.h"
#include "packet/wire.h"

#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <unistd.h>

#define EVERY_NS       1000000u    /* a sample at most: two system calls more than without */
#define PATIENCE_NS    1000000000u /* a stamp that has not come by then is missed */
#define WINDOW         512u        /* samples between two looks at them */
#define OF_DEPARTURES  4u          /* one sample in so many, if the others are for the correction */
#define MOST_NS        ((1u << 30) - 1)
#define MOST_STALE     8 /* stamps read in one go */
#define TRIALS         128
#define MOST_UNSTAMPED 5000
#define MOST_ASKING_NS 2000 /* more is something else */
#define ENOUGH         4    /* stamps missed in a row: the device gives none */

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

/* A capture of packets makes a departure later than what it shows.  So the correction learns when
 * replies are ready for the device, which is before that, and some tell of their departure, too. */
static uint32_t next_points(const struct tw_t3_error *t3_error)
{
    if (t3_error->source == TW_SOURCE_HARDWARE)
        return TW_TRANSMIT_HARDWARE;
    if (!t3_error->correct)
        return TW_TRANSMIT_KERNEL;
    return t3_error->asked % OF_DEPARTURES == OF_DEPARTURES - 1
               ? TW_TRANSMIT_QUEUED | TW_TRANSMIT_KERNEL
               : TW_TRANSMIT_QUEUED;
}

/* Samples of another source are of other points on the way. */
static void choose_source(struct tw_t3_error *t3_error)
{
    const uint32_t source = best_source(t3_error);

    if (source == t3_error->source)
        return;
    t3_error->source = source;
    tw_t3_correction_start(&t3_error->correction, t3_error->correction.floor_ns);
}

int tw_t3_error_choose(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids, int count,
                       uint64_t now_ns)
{
    if (t3_error->off)
        return -1;
    t3_error->state = tw_t3_state_after(t3_error->left_ns, now_ns, count);
    if (t3_error->due_ns > now_ns + PATIENCE_NS)
        t3_error->due_ns = now_ns; /* the clock has been set back */
    if (now_ns < t3_error->due_ns && !(t3_error->correct && t3_error->state >= TW_T3_PAUSED))
        return -1;
    if (t3_error->waits_for != NULL) {
        if (now_ns < t3_error->due_ns + PATIENCE_NS) {
            if (t3_error->state >= TW_T3_PAUSED) /* what is learnt there is of replies that ask */
                t3_error->state = TW_T3_STEADY;
            return -1;
        }
        miss(t3_error);
    }
    tw_t3_error_read(t3_error, fd, ids); /* none of those before is taken for the new one */
    choose_source(t3_error);
    t3_error->points = next_points(t3_error);
    t3_error->random = t3_error->random * 1664525u + 1013904223u;
    return (int)((uint64_t)t3_error->random * (unsigned)count >> 32);
}

void tw_t3_error_sent(struct tw_t3_error *t3_error, int fd, struct tw_stamp_ids *ids,
                      uint64_t clock_ns, int in_run)
{
    t3_error->due_ns = clock_ns + EVERY_NS;
    t3_error->clock_ns = clock_ns;
    t3_error->asked++;
    t3_error->asked_state = in_run ? TW_T3_RUN : t3_error->state;
    t3_error->corrected_ns = tw_t3_error_correction_ns(t3_error, in_run);
    t3_error->waits_for = ids;
    t3_error->waits_for_id = ids->next_id++;
    tw_t3_error_read(t3_error, fd, ids);
}

static uint64_t less(uint64_t ns, uint64_t by_ns)
{
    return ns > by_ns ? ns - by_ns : 0;
}

/* What asking costs comes half before a reply is ready for the device, and half after.  After a
 * pause each reply asks; else it is one of many that do not, and would have been sooner: the more
 * so where the one before it has not asked, either, so that the code for it was not at hand. */
static void sample(struct tw_t3_error *t3_error, uint32_t point, uint64_t ns)
{
    const int is_one_of_many = t3_error->asked_state < TW_T3_PAUSED;
    const uint64_t asking_ns = t3_error->asking_ns;

    t3_error->told |= point;
    if (point != TW_TRANSMIT_QUEUED)
        t3_error->departed_ns =
            is_one_of_many && point == TW_TRANSMIT_KERNEL ? less(ns, asking_ns) : ns;
    else if (is_one_of_many)
        t3_error->queued_ns =
            less(ns, t3_error->asked_state == TW_T3_STEADY ? asking_ns : asking_ns / 2);
    else
        t3_error->queued_ns = ns + asking_ns / 2;
}

/* The last of the stamps that a reply asks for. */
static int is_last(const struct tw_t3_error *t3_error, uint32_t point)
{
    return point == t3_error->points || point != TW_TRANSMIT_QUEUED;
}

static void take(struct tw_t3_error *t3_error, struct tw_stamp_ids *ids,
                 const struct tw_departure *departure)
{
    struct tw_stamp left = {.ns = t3_error->clock_ns, .source = TW_SOURCE_USER};
    const uint32_t point =
        departure->queued ? TW_TRANSMIT_QUEUED : t3_error->points & ~(uint32_t)TW_TRANSMIT_QUEUED;

    if (t3_error->waits_for != ids || (ids->known && departure->id != t3_error->waits_for_id) ||
        !(t3_error->points & point))
        return;
    ids->known = 1;
    ids->next_id = departure->id + 1;
    t3_error->waits_for_id = departure->id;
    tw_stamp_choose(&left, &departure->stamps, t3_error->models, tw_clock_unix_ns(),
                    TW_PASSAGE_DEPARTURE);
    if (left.source != t3_error->source || left.ns < t3_error->clock_ns ||
        left.ns - t3_error->clock_ns > MOST_NS) {
        miss(t3_error); /* the clock was set in between, or the device's is unknown */
        return;
    }
    sample(t3_error, point, left.ns - t3_error->clock_ns);
    if (!is_last(t3_error, point))
        return;
    t3_error->waits_for = NULL;
    t3_error->missed_in_a_row = 0;
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

static void add_departure(const struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats)
{
    if (stats->source != t3_error->source) { /* samples of two sources do not mix */
        stats->error = (struct tw_histogram){0};
        stats->early = 0;
        stats->source = t3_error->source;
    }
    stats->early += t3_error->departed_ns < t3_error->corrected_ns;
    tw_histogram_add(&stats->error, less(t3_error->departed_ns, t3_error->corrected_ns));
}

int tw_t3_error_post(struct tw_t3_error *t3_error, struct tw_t3_error_stats *stats)
{
    const uint32_t told = t3_error->told;

    stats->missed += t3_error->missed;
    t3_error->missed = 0;
    stats->correction_ns = tw_t3_error_correction_ns(t3_error, 0);
    if (told == 0)
        return 0;
    t3_error->told = 0;
    if (told & TW_TRANSMIT_QUEUED)
        tw_t3_correction_learn(&t3_error->correction, t3_error->asked_state, t3_error->queued_ns);
    else if (t3_error->correct && told & TW_TRANSMIT_HARDWARE)
        tw_t3_correction_learn(&t3_error->correction, t3_error->asked_state, t3_error->departed_ns);
    if (!(told & (TW_TRANSMIT_KERNEL | TW_TRANSMIT_HARDWARE)))
        return 0;
    add_departure(t3_error, stats);
    return stats->error.samples % WINDOW == 0;
}

/* ---- what asking costs, and what no reply takes less than */

struct trials {
    uint64_t ns[TRIALS]; /* from reading the clock until the packet came */
    uint64_t least_queued_ns;
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

static int open_to_itself(struct sockaddr_in *self)
{
    socklen_t length = sizeof *self;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *self = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && bind(fd, (struct sockaddr *)self, sizeof *self) == 0 &&
        getsockname(fd, (struct sockaddr *)self, &length) == 0 && tw_options_stamp_asked(fd) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* When the packet came, and when it was ready for the device if it asked; 0 = that is not said. */
static uint64_t stamps_of(int fd, uint64_t *queued_ns)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CMSG_OCTETS];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    struct tw_departure departure = {0};
    struct tw_rx rx = {0};

    if (recvmsg(fd, &message, MSG_DONTWAIT) >= 0)
        tw_cmsg_read_arrival(&message, &rx);
    message.msg_controllen = sizeof control;
    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
        (void)tw_cmsg_read_departure(&message, &departure);
    *queued_ns = departure.queued ? departure.stamps.kernel_ns : 0;
    return rx.stamps.kernel_ns;
}

/* As a reply leaves. */
static void try(int fd, struct sockaddr_in *self, int asks, struct trials *trials)
{
    _Alignas(struct cmsghdr) uint8_t control[TW_CMSG_OCTETS];
    uint8_t octets[sizeof(struct tw_reflector_packet)] = {0};
    struct iovec vector = {.iov_base = octets, .iov_len = sizeof octets};
    struct mmsghdr header = {.msg_hdr = {.msg_name = self,
                                         .msg_namelen = sizeof *self,
                                         .msg_iov = &vector,
                                         .msg_iovlen = 1,
                                         .msg_control = control}};
    uint64_t queued_ns;
    uint64_t clock_ns;
    uint64_t came_ns;

    if (asks)
        header.msg_hdr.msg_controllen = tw_cmsg_write_transmit_stamp(control, TW_TRANSMIT_QUEUED);
    clock_ns = tw_clock_unix_ns();
    if (tw_mmsg_send(&header, fd, 1) < 0)
        return;
    came_ns = stamps_of(fd, &queued_ns);
    if (came_ns < clock_ns || (asks && queued_ns < clock_ns))
        return;
    trials->ns[trials->count++] = came_ns - clock_ns;
    if (asks && queued_ns - clock_ns < trials->least_queued_ns)
        trials->least_queued_ns = queued_ns - clock_ns;
}

/* In a loop that does nothing else: no reply leaves sooner. */
static void measure(struct tw_t3_error *t3_error, int fd, struct sockaddr_in *self)
{
    struct trials plain = {.count = 0};
    struct trials asking = {.least_queued_ns = UINT64_MAX};
    uint64_t cost_ns;

    for (int i = 0; i < MOST_UNSTAMPED && plain.count == 0; i++)
        try(fd, self, 0, &plain); /* the kernel stamps some milliseconds after it was asked to */
    plain.count = 0;
    for (int i = 0; i < TRIALS; i++) {
        try(fd, self, 0, &plain);
        try(fd, self, 1, &asking);
    }
    if (plain.count < TRIALS / 2 || asking.count < TRIALS / 2)
        return;
    cost_ns = median(&asking) - median(&plain);
    if (cost_ns > MOST_ASKING_NS) /* or less than nothing */
        return;
    t3_error->asking_ns = cost_ns;
    if (t3_error->correct && asking.least_queued_ns > cost_ns / 2)
        tw_t3_correction_start(&t3_error->correction, asking.least_queued_ns - cost_ns / 2);
}

void tw_t3_error_open(struct tw_t3_error *t3_error)
{
    struct sockaddr_in self;
    const int fd = open_to_itself(&self);

    tw_t3_correction_start(&t3_error->correction, 0);
    if (t3_error->correct)
        tw_rehearsal_open(&t3_error->rehearsal);
    if (fd < 0)
        return;
    measure(t3_error, fd, &self);
    close(fd);
}

void tw_t3_error_close(struct tw_t3_error *t3_error)
{
    tw_rehearsal_close(&t3_error->rehearsal);
}
