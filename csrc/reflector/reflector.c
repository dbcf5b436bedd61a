/* reflector.c: the Session-Reflector (RFC 5357 section 4.2): opened and closed, and its sessions,
 * for any thread.  The lock covers memory, never a receive, a reflection or a send; epoll_ctl is
 * under it, so that a local port is either in the pool or free. */
#include "reflector/reflector.h"
#include "kernel/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NONE          TW_POOL_NONE
#define MOST_SESSIONS 65536
#define LOOK          256 /* sessions read under one lock */
#define SENT_TTL      255 /* RFC 5357 section 4.2.1 */

/* ---- open, close, stop */

static int open_descriptors(struct tw_reflector *reflector)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = TW_REFLECTOR_WAKE};

    reflector->epoll = epoll_create1(EPOLL_CLOEXEC);
    reflector->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reflector->epoll < 0 || reflector->wake < 0)
        return -errno;
    if (epoll_ctl(reflector->epoll, EPOLL_CTL_ADD, reflector->wake, &event) < 0)
        return -errno;
    if (reflector->config.timestamp == TW_TIMESTAMP_USER)
        return 0;
    reflector->stamping =
        tw_options_keep_stamping(reflector->config.timestamp == TW_TIMESTAMP_KERNEL);
    if (reflector->stamping < 0)
        return reflector->stamping;
    tw_t3_error_open(&reflector->batch.outbox.t3_error);
    return 0;
}

static int open_memory(struct tw_reflector *reflector)
{
    const uint32_t size = reflector->config.maximum_sessions;
    const uint64_t seed = reflector->config.hash_seed;
    int result = tw_pool_open(&reflector->pool, size, seed);

    if (result == 0)
        result = tw_admission_open(&reflector->admission, size, seed);
    tw_rate_limit_set(&reflector->admission.clients, reflector->config.rate_limit);
    tw_rate_limit_set(&reflector->admission.strangers, reflector->config.light_rate_limit);
    if (result == 0)
        result = tw_batch_open(&reflector->batch, &reflector->config);
    return result;
}

int tw_reflector_open(const struct tw_reflector_config *config, struct tw_reflector **reflector)
{
    struct tw_reflector *opened;
    int result;

    *reflector = NULL;
    if (config->maximum_sessions < 1 || config->maximum_sessions > MOST_SESSIONS ||
        config->tx_batch > TW_BATCH || (config->tx_batch == 0 && config->t3_budget_ns == 0) ||
        config->timestamp > TW_TIMESTAMP_HARDWARE || config->timestamp_format > TW_FORMAT_PTP)
        return -EINVAL;
    opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return -ENOMEM;
    opened->config = *config;
    opened->epoll = opened->wake = opened->stamping = -1;
    pthread_mutex_init(&opened->lock, NULL);
    result = open_memory(opened);
    if (result == 0)
        result = open_descriptors(opened);
    if (result < 0) {
        tw_reflector_close(opened);
        return result;
    }
    *reflector = opened;
    return 0;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        close(fd);
}

void tw_reflector_close(struct tw_reflector *reflector)
{
    for (uint32_t row = 0; row < reflector->pool.fresh_socket; row++)
        close_descriptor(reflector->pool.sockets[row].fd);
    close_descriptor(reflector->stamping);
    close_descriptor(reflector->wake);
    close_descriptor(reflector->epoll);
    for (uint32_t row = 0; row < reflector->pool.fresh_session; row++)
        tw_crypto_close(reflector->pool.sessions[row].cipher);
    tw_crypto_close_retired(&reflector->retired);
    tw_batch_close(&reflector->batch);
    tw_admission_close(&reflector->admission);
    tw_pool_close(&reflector->pool);
    pthread_mutex_destroy(&reflector->lock);
    free(reflector);
}

static int wake_up(struct tw_reflector *reflector)
{
    const uint64_t one = 1;

    /* EAGAIN: it is awake as can be. */
    if (write(reflector->wake, &one, sizeof one) < 0 && errno != EAGAIN)
        return -errno;
    return 0;
}

int tw_reflector_stop(struct tw_reflector *reflector)
{
    atomic_store(&reflector->stopping, 1);
    return wake_up(reflector);
}

int tw_reflector_nudge(struct tw_reflector *reflector)
{
    return wake_up(reflector);
}

static int set_rate(struct tw_reflector *reflector, struct tw_rate_limit *rate_limit, uint32_t rate)
{
    pthread_mutex_lock(&reflector->lock);
    tw_rate_limit_set(rate_limit, rate);
    pthread_mutex_unlock(&reflector->lock);
    return 0;
}

int tw_reflector_set_rate_limit(struct tw_reflector *reflector, uint32_t rate_limit)
{
    return set_rate(reflector, &reflector->admission.clients, rate_limit);
}

int tw_reflector_set_light_rate_limit(struct tw_reflector *reflector, uint32_t rate_limit)
{
    return set_rate(reflector, &reflector->admission.strangers, rate_limit);
}

int tw_reflector_set_light_clients(struct tw_reflector *reflector, const struct tw_prefix *prefixes,
                                   uint32_t count)
{
    struct tw_client_list *clients;
    struct tw_client_list *former;
    const int result = tw_client_list_open(prefixes, count, &clients);

    if (result < 0)
        return result;
    pthread_mutex_lock(&reflector->lock);
    former = reflector->admission.light_clients;
    reflector->admission.light_clients = clients;
    pthread_mutex_unlock(&reflector->lock);
    tw_client_list_close(former);
    return 0;
}

/* ---- sessions: any thread */

static int is_wildcard(const struct tw_endpoint *local)
{
    static const uint8_t unspecified[16];

    return memcmp(local->address, unspecified, sizeof unspecified) == 0;
}

static int check_session(const struct tw_session_config *config)
{
    const uint8_t ip_version = config->local.ip_version;

    if ((ip_version != 4 && ip_version != 6) || config->peer.ip_version != ip_version ||
        config->dscp > 63)
        return -EINVAL;
    if (config->mode != TW_MODE_UNAUTHENTICATED && config->mode != TW_MODE_AUTHENTICATED &&
        config->mode != TW_MODE_ENCRYPTED)
        return -EINVAL;
    /* A session is between two addresses; of a wildcard its client would not know which. */
    return is_wildcard(&config->local) ? -EINVAL : 0;
}

static int is_bound_to(int fd, const struct tw_endpoint *local)
{
    union tw_sockaddr address;
    struct tw_endpoint bound;
    socklen_t length = sizeof address;

    if (getsockname(fd, &address.any, &length) < 0)
        return -errno;
    if (tw_address_to_endpoint(&address, &bound) < 0 || memcmp(&bound, local, sizeof bound) != 0)
        return -EINVAL;
    return 0;
}

static int choose_stamps(const struct tw_reflector *reflector, int fd)
{
    int result;

    if (reflector->config.timestamp == TW_TIMESTAMP_USER) {
        tw_options_stamp_nothing(fd); /* refused: it never stamped */
        return 0;
    }
    result = -EINVAL;
    if (reflector->config.timestamp == TW_TIMESTAMP_HARDWARE)
        result = tw_options_stamp_hardware(fd);
    if (result < 0)
        result = tw_options_stamp_asked(fd);
    /* Refused, though it need not be: receive_sources will show it. */
    return reflector->config.timestamp == TW_TIMESTAMP_KERNEL ? result : 0;
}

/* A socket of our own from the caller's; -errno. */
static int duplicate(const struct tw_reflector *reflector, const struct tw_endpoint *local, int fd)
{
    int result = is_bound_to(fd, local);

    if (result == 0)
        result =
            tw_options_prepare(fd, local->ip_version, reflector->config.receive_buffer, SENT_TTL);
    if (result == 0 && is_wildcard(local))
        result = tw_options_tell_asked(fd, local->ip_version);
    if (result < 0)
        return result;
    tw_options_set_dscp(fd, local->ip_version, 0); /* a session with another says so per packet */
    result = choose_stamps(reflector, fd);
    if (result < 0)
        return result;
    result = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return result < 0 ? -errno : result;
}

/* Takes *fd over, and sets it to -1, when the pool has no socket there yet. */
static int64_t adopt_and_add(struct tw_reflector *reflector, const struct tw_session_config *config,
                             int *fd, uint32_t overflows)
{
    struct tw_pool *pool = &reflector->pool;
    struct epoll_event event = {.events = EPOLLIN};
    uint32_t socket = tw_pool_find_socket(pool, &config->local);

    if (socket == NONE && *fd < 0)
        return -ENOENT;
    if (socket == NONE && pool->session_count == pool->size)
        return -ENOSPC;
    if (socket == NONE) {
        socket = tw_pool_adopt(pool, &config->local, *fd);
        if (socket == NONE)
            return -ENOSPC;
        *fd = -1;
        pool->sockets[socket].overflows = overflows; /* those are not ours */
        event.data.u64 = tw_pool_socket_id(pool, socket);
        if (epoll_ctl(reflector->epoll, EPOLL_CTL_ADD, pool->sockets[socket].fd, &event) < 0) {
            const int error = errno;

            *fd = tw_pool_bury(pool); /* the latest to die is this one; the loop never saw it */
            return -error;
        }
    }
    return tw_pool_add(pool, socket, config);
}

/* Takes *cipher over, and sets it to NULL, when the session is added. */
static int64_t add_session(struct tw_reflector *reflector, const struct tw_session_config *config,
                           int *fd, uint32_t overflows, struct tw_cipher **cipher)
{
    const int64_t id = adopt_and_add(reflector, config, fd, overflows);

    if (id >= 0) {
        tw_pool_session(&reflector->pool, id)->cipher = *cipher;
        *cipher = NULL;
    }
    return id;
}

/* What config says makes sense. */
static int64_t add_checked(struct tw_reflector *reflector, const struct tw_session_config *config,
                           int fd)
{
    struct tw_cipher *cipher;
    uint32_t overflows = 0;
    int64_t result;
    int own = -1;

    if (fd >= 0) {
        own = duplicate(reflector, &config->local, fd);
        if (own < 0)
            return own;
        atomic_store(&reflector->granted, tw_options_receive_buffer(own));
        overflows = tw_options_overflows(own);
    }
    cipher = tw_crypto_open(config->mode, &config->keys);
    if (cipher == NULL && config->mode != TW_MODE_UNAUTHENTICATED) {
        close_descriptor(own);
        return -ENOMEM;
    }
    pthread_mutex_lock(&reflector->lock);
    result = add_session(reflector, config, &own, overflows, &cipher);
    pthread_mutex_unlock(&reflector->lock);
    close_descriptor(own); /* there was a socket already, or an error: nobody saw this one */
    tw_crypto_close(cipher);
    return result;
}

int64_t tw_reflector_add(struct tw_reflector *reflector, const struct tw_session_config *config,
                         int fd)
{
    const int result = check_session(config);

    return result < 0 ? result : add_checked(reflector, config, fd);
}

int64_t tw_reflector_add_light(struct tw_reflector *reflector, const struct tw_endpoint *local,
                               int fd)
{
    /* A peer without an IP version is every peer. */
    const struct tw_session_config config = {.local = *local, .mode = TW_MODE_UNAUTHENTICATED};

    if (local->ip_version != 4 && local->ip_version != 6)
        return -EINVAL;
    return add_checked(reflector, &config, fd);
}

int tw_reflector_start(struct tw_reflector *reflector, int64_t id)
{
    struct tw_pool_session *session;

    pthread_mutex_lock(&reflector->lock);
    session = tw_pool_session(&reflector->pool, id);
    if (session != NULL)
        session->started = 1;
    pthread_mutex_unlock(&reflector->lock);
    return session == NULL ? -ENOENT : 0;
}

int tw_reflector_finish(struct tw_reflector *reflector, int64_t id, uint64_t deadline_ns)
{
    struct tw_pool_session *session;

    pthread_mutex_lock(&reflector->lock);
    session = tw_pool_session(&reflector->pool, id);
    if (session != NULL)
        session->deadline_ns = deadline_ns;
    pthread_mutex_unlock(&reflector->lock);
    return session == NULL ? -ENOENT : 0;
}

int tw_reflector_remove(struct tw_reflector *reflector, int64_t id)
{
    struct tw_pool_session *session;
    int work = 0; /* for the loop */

    pthread_mutex_lock(&reflector->lock);
    session = tw_pool_session(&reflector->pool, id);
    if (session != NULL) {
        work = session->cipher != NULL;
        tw_crypto_retire(&reflector->retired, session->cipher);
        session->cipher = NULL;
        work |= tw_pool_remove(&reflector->pool, session);
    }
    pthread_mutex_unlock(&reflector->lock);
    if (session == NULL)
        return -ENOENT;
    return work ? wake_up(reflector) : 0;
}

int tw_reflector_session_stats(struct tw_reflector *reflector, int64_t id,
                               struct tw_session_stats *stats)
{
    struct tw_pool_session *session;

    pthread_mutex_lock(&reflector->lock);
    session = tw_pool_session(&reflector->pool, id);
    if (session != NULL)
        *stats = session->stats;
    pthread_mutex_unlock(&reflector->lock);
    return session == NULL ? -ENOENT : 0;
}

/* Those of one lock; how many of them there are. */
static int read_stats(struct tw_reflector *reflector, const int64_t *ids, uint32_t count,
                      struct tw_session_stats *stats, uint8_t *found)
{
    int known = 0;

    pthread_mutex_lock(&reflector->lock);
    for (uint32_t i = 0; i < count; i++) {
        const struct tw_pool_session *session = tw_pool_session(&reflector->pool, ids[i]);

        stats[i] = session == NULL ? (struct tw_session_stats){0} : session->stats;
        found[i] = session != NULL;
        known += found[i];
    }
    pthread_mutex_unlock(&reflector->lock);
    return known;
}

int tw_reflector_session_stats_of(struct tw_reflector *reflector, const int64_t *ids,
                                  uint32_t count, struct tw_session_stats *stats, uint8_t *found)
{
    int known = 0;

    for (uint32_t at = 0; at < count; at += LOOK) {
        const uint32_t chunk = count - at < LOOK ? count - at : LOOK;

        known += read_stats(reflector, ids + at, chunk, stats + at, found + at);
    }
    return known;
}

void tw_reflector_stats(struct tw_reflector *reflector, struct tw_reflector_stats *stats)
{
    pthread_mutex_lock(&reflector->lock);
    *stats = reflector->records.stats;
    stats->sessions = reflector->pool.session_count;
    stats->sockets = reflector->pool.socket_count;
    stats->receive_buffer = atomic_load(&reflector->granted);
    pthread_mutex_unlock(&reflector->lock);
}

void tw_reflector_t3_error(struct tw_reflector *reflector, struct tw_t3_error_stats *t3_error)
{
    pthread_mutex_lock(&reflector->lock);
    *t3_error = reflector->records.t3_error;
    pthread_mutex_unlock(&reflector->lock);
}

void tw_reflector_receive_lag(struct tw_reflector *reflector, struct tw_histogram *lag)
{
    pthread_mutex_lock(&reflector->lock);
    *lag = reflector->records.receive_lag;
    pthread_mutex_unlock(&reflector->lock);
}

int tw_reflector_set_clock_models(struct tw_reflector *reflector,
                                  const struct tw_clock_model *models, uint32_t count)
{
    int result;

    pthread_mutex_lock(&reflector->lock);
    result = tw_device_clock_set_models(&reflector->models, models, count);
    reflector->models_set++;
    pthread_mutex_unlock(&reflector->lock);
    return result;
}
