/* sender.c: the Session-Sender (RFC 5357 section 4.1): opened and closed, stopped and watched, by
 * any thread, while another one is in its loop. */
#include "sender/sender.h"
#include "kernel/clock.h"
#include "kernel/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- open, close */

static int is_secured(const struct tw_sender_config *config)
{
    return config->mode != TW_MODE_UNAUTHENTICATED;
}

static const struct tw_layout *layout_of(const struct tw_sender_config *config)
{
    return tw_layout(is_secured(config) ? TW_LAYOUT_SECURED : TW_LAYOUT_UNAUTHENTICATED);
}

static int check_arrays(const struct tw_sender_config *config)
{
    if (config->padding_length > 0 && config->padding == NULL)
        return -EINVAL;
    if (config->duplicates_size > 0 && config->duplicates == NULL)
        return -EINVAL;
    if (config->count > 0 &&
        (config->size == 0 || config->schedule == NULL || config->samples == NULL))
        return -EINVAL;
    return 0;
}

static int check_config(const struct tw_sender_config *config, int fd)
{
    const size_t head = layout_of(config)->request_octets;
    socklen_t length = sizeof(int);
    int domain = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        return -errno;
    if (domain != (config->peer.ip_version == 4 ? AF_INET : AF_INET6))
        return -EAFNOSUPPORT;
    if (config->padding_length > TW_PACKET_MAX - head)
        return -EMSGSIZE;
    if (is_secured(config) && config->mode != TW_MODE_AUTHENTICATED &&
        config->mode != TW_MODE_ENCRYPTED)
        return -EINVAL;
    return config->peer.port == 0 ? -EINVAL : check_arrays(config);
}

static int open_sockets(struct tw_sender *sender, int fd)
{
    const struct tw_sender_config *config = &sender->config;
    const int ip_version = config->peer.ip_version;
    int result;

    sender->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (sender->fd < 0)
        return -errno;
    sender->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sender->wake_fd < 0)
        return -errno;
    result = tw_options_prepare(sender->fd, ip_version, config->receive_buffer, config->ttl);
    if (result == 0)
        result = tw_options_set_dscp(sender->fd, ip_version, config->dscp);
    if (result == 0 && config->do_not_fragment)
        result = tw_options_forbid_fragments(sender->fd, ip_version);
    if (result == 0) {
        tw_options_report_errors(sender->fd, ip_version); /* without it loss has no reasons */
        tw_sender_choose_stamps(sender);
    }
    return result;
}

static int open_samples(struct tw_samples *samples, const struct tw_sender_config *config)
{
    *samples = (struct tw_samples){
        .rows = config->samples,
        .size = config->size,
        .departed_ns = config->count > config->size ? config->schedule : NULL,
        .duplicates = config->duplicates,
        .duplicates_size = config->duplicates_size,
        .peer = config->peer,
        .layout = layout_of(config),
        .any_source = config->any_source,
        .zero_estimate = config->zero_estimate,
        .written_t1 = calloc((size_t)config->size + 1, sizeof(uint64_t)),
        .cipher = tw_crypto_open(config->mode, &config->keys),
        .ids.doubtful_from = UINT32_MAX,
    };
    if (samples->written_t1 == NULL)
        return -ENOMEM;
    return is_secured(config) && samples->cipher == NULL ? -ENOMEM : 0;
}

int tw_sender_open(const struct tw_sender_config *config, int fd, struct tw_sender **sender)
{
    struct tw_sender *opened;
    int result = check_config(config, fd);

    *sender = NULL;
    if (result < 0)
        return result;
    opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return -ENOMEM;
    opened->config = *config;
    explicit_bzero(&opened->config.keys, sizeof opened->config.keys);
    opened->scheduled = config->count < config->size ? config->count : config->size;
    opened->peer_length = tw_address_from_endpoint(&config->peer, &opened->peer);
    opened->fd = opened->wake_fd = -1;
    pthread_mutex_init(&opened->lock, NULL);
    tw_sender_prepare_loop(opened);
    result = open_samples(&opened->samples, config);
    if (result == 0)
        result = open_sockets(opened, fd);
    if (result < 0) {
        tw_sender_close(opened);
        return result;
    }
    *sender = opened;
    return 0;
}

void tw_sender_close(struct tw_sender *sender)
{
    if (sender == NULL)
        return;
    if (sender->fd >= 0)
        close(sender->fd);
    if (sender->wake_fd >= 0)
        close(sender->wake_fd);
    tw_crypto_close(sender->samples.cipher);
    free(sender->samples.written_t1);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}

/* ---- while another thread is in the loop */

static int wake_up(struct tw_sender *sender)
{
    return eventfd_write(sender->wake_fd, 1) < 0 ? -errno : 0;
}

int tw_sender_stop(struct tw_sender *sender, int drain)
{
    const int wanted = drain ? TW_SENDER_DRAINS : TW_SENDER_STOPS;
    int stopping = atomic_load(&sender->stopping);

    while (stopping < wanted && !atomic_compare_exchange_weak(&sender->stopping, &stopping, wanted))
        ; /* another thread was faster: stopping is what it wants */
    return wake_up(sender);
}

void tw_sender_stats(struct tw_sender *sender, struct tw_sender_stats *stats)
{
    pthread_mutex_lock(&sender->lock);
    *stats = sender->published;
    pthread_mutex_unlock(&sender->lock);
}

int tw_sender_set_clock_models(struct tw_sender *sender, const struct tw_clock_model *models,
                               uint32_t count)
{
    int result;

    pthread_mutex_lock(&sender->lock);
    result = tw_device_clock_set_models(&sender->models, models, count);
    pthread_mutex_unlock(&sender->lock);
    return result;
}

uint32_t tw_sender_settled(struct tw_sender *sender, uint64_t *duplicates)
{
    const struct tw_samples *samples = &sender->samples;
    const uint32_t settled = atomic_load_explicit(&samples->settled, memory_order_acquire);

    /* Read after: what came twice was written before its row was settled. */
    *duplicates = atomic_load_explicit(&samples->duplicates_written, memory_order_acquire);
    return settled;
}

int tw_sender_schedule_until(struct tw_sender *sender, uint32_t sequence, uint64_t duplicates_taken)
{
    struct tw_samples *samples = &sender->samples;
    uint64_t duplicates;
    const uint64_t settled = tw_sender_settled(sender, &duplicates);

    if (sequence < sender->scheduled || sequence > settled + sender->config.size ||
        sequence > sender->config.count || duplicates_taken < samples->duplicates_taken ||
        duplicates_taken > duplicates)
        return -EINVAL;
    atomic_store_explicit(&samples->duplicates_taken, duplicates_taken, memory_order_release);
    atomic_store_explicit(&sender->scheduled, sequence, memory_order_release);
    return wake_up(sender);
}
