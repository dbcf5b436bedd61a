/* loop.c: the loop that answers packets; one thread runs it.  Only the loop closes sockets.  It
 * does so under the lock, as epoll_ctl; a receive, a reflection or a send is never under it.
 * received == reflected + the sum of drops in every snapshot. */
#include "reflector/reflector.h"
#include "kernel/clock.h"
#include "kernel/options.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TURN      64  /* sockets served, and sockets closed, in one turn of the loop */
#define BUSY      4   /* packets at once that tell of more */
#define MOST_LAST 256 /* batches read from a socket before it is closed */
#define MOST_BUSY TW_REFLECTOR_MOST_BUSY
#define WAKE      TW_REFLECTOR_WAKE

struct ready {
    uint64_t id;
    int fd;
    uint32_t socket; /* row */
    int busy;
};

/* One batch of one socket; how many packets. */
static int serve(struct tw_reflector *reflector, const struct ready *ready)
{
    struct tw_batch *batch = &reflector->batch;
    const int count = tw_batch_receive(batch, ready->fd);

    if (count <= 0) {
        /* EAGAIN: a stamp or a bad checksum woke us; whatever it is, the next turn asks again. */
        tw_batch_read_stamps(batch, ready->fd, ready->socket);
        return 0;
    }
    pthread_mutex_lock(&reflector->lock);
    tw_batch_assign(batch, &reflector->pool, &reflector->admission, ready->socket);
    pthread_mutex_unlock(&reflector->lock);
    tw_batch_answer(batch, ready->fd);
    pthread_mutex_lock(&reflector->lock);
    tw_batch_post(batch, &reflector->pool, &reflector->records);
    pthread_mutex_unlock(&reflector->lock);
    return count;
}

/* A socket that is closed by now resolves to nothing. */
static int resolve_one(struct tw_reflector *reflector, uint64_t id, int busy, struct ready *ready)
{
    const struct tw_pool_socket *socket = id == WAKE ? NULL : tw_pool_socket(&reflector->pool, id);

    if (socket == NULL)
        return 0;
    *ready = (struct ready){.id = id, .fd = socket->fd, .socket = (uint32_t)id, .busy = busy};
    return 1;
}

/* Answers, or counts as of no session, what is still queued in a socket that will be closed; and
 * counts what its buffer has lost since the last packet that told of it. */
static void serve_the_last(struct tw_reflector *reflector, const struct ready *ready)
{
    uint64_t *overflows = &reflector->batch.counters[TW_COUNTER_OVERFLOWS];

    for (int i = 0; i < MOST_LAST && serve(reflector, ready) > 0; i++)
        ;
    pthread_mutex_lock(&reflector->lock);
    tw_batch_count_overflows(&reflector->batch, &reflector->pool.sockets[ready->socket],
                             tw_options_overflows(ready->fd));
    reflector->records.stats.counters[TW_COUNTER_OVERFLOWS] = *overflows;
    pthread_mutex_unlock(&reflector->lock);
}

static int next_dying(struct tw_reflector *reflector, struct ready *ready)
{
    int found;

    pthread_mutex_lock(&reflector->lock);
    found = resolve_one(reflector, tw_pool_dying(&reflector->pool), 0, ready);
    pthread_mutex_unlock(&reflector->lock);
    return found;
}

/* A few a turn and a lock each, so that neither packets nor other threads wait for a thousand. */
static void bury_dying(struct tw_reflector *reflector)
{
    struct ready ready;

    for (int i = 0; i < TURN; i++) {
        int fd;

        if (!next_dying(reflector, &ready))
            return;
        serve_the_last(reflector, &ready);
        pthread_mutex_lock(&reflector->lock);
        /* A session may have come meanwhile: this socket lives, and another may be the next. */
        fd = tw_pool_dying(&reflector->pool) == ready.id ? tw_pool_bury(&reflector->pool) : -1;
        /* While the caller's own descriptor is open, close would not take it out of epoll. */
        if (fd >= 0) {
            epoll_ctl(reflector->epoll, EPOLL_CTL_DEL, fd, NULL);
            close(fd);
        }
        pthread_mutex_unlock(&reflector->lock);
    }
    tw_reflector_nudge(reflector);
}

/* Between two batches nothing of a removed session is in use. */
static void close_retired(struct tw_reflector *reflector)
{
    struct tw_cipher *retired;

    pthread_mutex_lock(&reflector->lock);
    retired = reflector->retired;
    reflector->retired = NULL;
    pthread_mutex_unlock(&reflector->lock);
    tw_crypto_close_retired(&retired);
}

/* First of all: a wake-up that comes later belongs to the next turn. */
static void hear_wakes(struct tw_reflector *reflector, const struct epoll_event *events, int count)
{
    uint64_t wakes;

    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == WAKE)
            (void)!read(reflector->wake, &wakes, sizeof wakes); /* EAGAIN is as good */
    }
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint64_t next_busy(struct tw_reflector *reflector)
{
    reflector->busy_count--;
    return reflector->busy[reflector->busy_first++ % MOST_BUSY];
}

static void add_busy(struct tw_reflector *reflector, uint64_t id)
{
    reflector->busy[(reflector->busy_first + reflector->busy_count++) % MOST_BUSY] = id;
}

/* After the burials: the sockets with packets, and those that had many the last time. */
static int resolve(struct tw_reflector *reflector, const struct epoll_event *events, int count,
                   struct ready *ready)
{
    int sockets = 0;

    pthread_mutex_lock(&reflector->lock);
    reflector->records.stats.counters[TW_COUNTER_TURNS] =
        ++reflector->batch.counters[TW_COUNTER_TURNS];
    if (reflector->models_known != reflector->models_set) {
        reflector->models_known = reflector->models_set;
        reflector->batch.models = reflector->models;
    }
    for (uint32_t left = smaller(reflector->busy_count, TURN); left > 0; left--)
        sockets += resolve_one(reflector, next_busy(reflector), 1, &ready[sockets]);
    for (int i = 0; i < count; i++)
        sockets += resolve_one(reflector, events[i].data.u64, 0, &ready[sockets]);
    pthread_mutex_unlock(&reflector->lock);
    return sockets;
}

/* Takes a socket out of epoll, or back into it; whether it is still there, and that went well. */
static int set_busy(struct tw_reflector *reflector, const struct ready *ready, int busy)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = ready->id};
    const int operation = busy ? EPOLL_CTL_DEL : EPOLL_CTL_ADD;
    int done;

    pthread_mutex_lock(&reflector->lock);
    done = tw_pool_socket(&reflector->pool, ready->id) != NULL &&
           epoll_ctl(reflector->epoll, operation, ready->fd, &event) == 0;
    pthread_mutex_unlock(&reflector->lock);
    return done;
}

/* While a socket is in epoll the kernel wakes it for each packet that has left, as if it waited for
 * room.  One that is never empty is asked anyway, and need not be there. */
static void watch(struct tw_reflector *reflector, const struct ready *ready, int packets)
{
    /* There is room again for one that was busy: it has just been taken out. */
    const int room = ready->busy || reflector->busy_count < MOST_BUSY - TURN;
    const int many = room && packets >= (ready->busy ? 1 : BUSY);
    const int busy = many == ready->busy || set_busy(reflector, ready, many) ? many : ready->busy;

    if (busy)
        add_busy(reflector, ready->id);
}

int tw_reflector_step(struct tw_reflector *reflector, int timeout_ms)
{
    struct epoll_event events[TURN];
    struct ready ready[2 * TURN];
    const int patience_ms = reflector->busy_count > 0 ? 0 : timeout_ms;
    const int count = epoll_wait(reflector->epoll, events, TURN, patience_ms);
    int packets = 0;
    int sockets;

    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    hear_wakes(reflector, events, count);
    close_retired(reflector);
    bury_dying(reflector);
    sockets = resolve(reflector, events, count, ready);
    for (int i = 0; i < sockets; i++) {
        const int served = serve(reflector, &ready[i]);

        watch(reflector, &ready[i], served);
        packets += served;
    }
    return packets;
}

/* Whoever has just had packets may expect more: a loop that does not sleep need not be woken. */
static int patience_ms(const struct tw_reflector *reflector, int packets, uint64_t *awake_until_ns)
{
    uint64_t now_ns;

    if (reflector->config.spin_us == 0)
        return -1;
    now_ns = tw_clock_monotonic_ns();
    if (packets > 0)
        *awake_until_ns = now_ns + reflector->config.spin_us * 1000ull;
    return now_ns < *awake_until_ns ? 0 : -1;
}

int tw_reflector_run(struct tw_reflector *reflector)
{
    uint64_t awake_until_ns = 0;
    int packets = 0;

    prctl(PR_SET_NAME, "twamp-reflector"); /* for top -H and perf */
    while (!atomic_load(&reflector->stopping)) {
        packets = tw_reflector_step(reflector, patience_ms(reflector, packets, &awake_until_ns));
        if (packets < 0)
            return packets;
    }
    return 0;
}
