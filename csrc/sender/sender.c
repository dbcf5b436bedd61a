/* sender.c: the Session-Sender's loop (RFC 5357 section 4.1): sends on schedule, and reads replies
 * and transmit stamps all the while.  One thread runs it; stop and stats may be called from any
 * other.  It sleeps until shortly before a packet is due and then watches the clock; packets that
 * are overdue go at once.  Trouble with one packet is a counter, never an end. */
#define _GNU_SOURCE 1 /* recvmmsg, ppoll */
#include "sender/samples.h"
#include "kernel/address.h"
#include "kernel/clock.h"
#include "kernel/cmsg.h"
#include "kernel/options.h"
#include "packet/octets.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The margin: how long the clock is watched before a packet is due.  MARGIN_ALWAYS_NS is allowed at
 * any rate; more is, up to MARGIN_MOST_NS, as a share of the time since the last send, so that less
 * than a tenth of a core is burnt below 1,000 packets per second. */
#define MARGIN_FIRST_NS  50000U
#define MARGIN_LEAST_NS  20000U
#define MARGIN_ALWAYS_NS 80000U
#define MARGIN_MOST_NS   400000U
#define MARGIN_SHARE     12
#define MARGIN_DECAY     64

#define UNREAD_SENDS      16U   /* overdue packets sent before replies and stamps are read */
#define READS_AT_A_TIME   256   /* batches, more than a buffer holds; stop is seen between them */
#define T1_ERROR_NS       5000U /* from reading the clock to the packet leaving, when all is well */
#define RENUMBER_AFTER_NS 100000000U /* stamps of older sends have come by then or never will */
#define SETTLING_SLACK_NS 50000000U  /* so that a ring's rows do not wake us one by one */
#define LONGEST_SLEEP_NS  (60ULL * TW_NS_PER_S)

enum stopping { STOP_NOT, STOP_DRAIN, STOP_NOW };

/* Room for one recvmmsg; of a reply only the head is copied, MSG_TRUNC tells its true length. */
struct inbox {
    struct mmsghdr messages[TW_BATCH];
    struct iovec vectors[TW_BATCH];
    union tw_sockaddr sources[TW_BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[TW_BATCH][TW_CMSG_OCTETS];
    uint8_t packets[TW_BATCH][TW_REPLY_HEAD];
};

struct tw_sender {
    struct tw_sender_config config;
    struct tw_samples samples;
    struct inbox inbox;
    union tw_sockaddr peer;
    socklen_t peer_length;
    int fd;
    int wake_fd;
    uint32_t unread_sends;
    uint64_t margin_ns;
    uint64_t last_send_ns;   /* CLOCK_MONOTONIC; of refused ones too */
    uint64_t estimate_at_ns; /* when the error estimate is to be read again */
    uint16_t error_estimate;
    int stopping;         /* enum stopping, atomic: stop writes, run reads */
    uint32_t scheduled;   /* atomic: schedule_until writes, run reads */
    uint32_t stalled_at;  /* the sequence number whose stall has been counted last */
    pthread_mutex_t lock; /* over published and models */
    struct tw_sender_stats published;
    struct tw_clock_models models; /* run's are in samples */
};

static void empty_inbox(struct inbox *inbox, int used)
{
    for (int i = 0; i < used; i++) {
        struct msghdr *message = &inbox->messages[i].msg_hdr;

        message->msg_namelen = sizeof inbox->sources[i];
        message->msg_controllen = sizeof inbox->controls[i];
    }
}

static void lay_out_inbox(struct inbox *inbox)
{
    for (int i = 0; i < TW_BATCH; i++) {
        inbox->vectors[i] = (struct iovec){inbox->packets[i], sizeof inbox->packets[i]};
        inbox->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &inbox->sources[i],
            .msg_iov = &inbox->vectors[i],
            .msg_iovlen = 1,
            .msg_control = inbox->controls[i],
        };
    }
    empty_inbox(inbox, TW_BATCH);
}

/* Both return the messages read, at most TW_BATCH. */

static int read_departures(struct tw_sender *sender)
{
    struct inbox *inbox = &sender->inbox;
    int read = recvmmsg(sender->fd, inbox->messages, TW_BATCH, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);

    for (int i = 0; i < read; i++) {
        struct tw_departure departure;

        if (!tw_cmsg_read_departure(&inbox->messages[i].msg_hdr, &departure))
            continue;
        if (departure.kernel_ns != 0)
            tw_samples_departure(&sender->samples, departure.id, departure.kernel_ns,
                                 TW_SOURCE_KERNEL);
        if (departure.hardware_ns != 0)
            tw_samples_departure(&sender->samples, departure.id,
                                 tw_device_clock_unix_ns(&sender->samples.models, 0,
                                                         departure.hardware_ns, tw_clock_unix_ns()),
                                 TW_SOURCE_HARDWARE);
    }
    empty_inbox(inbox, read);
    return read < 0 ? 0 : read;
}

static int read_replies(struct tw_sender *sender)
{
    struct inbox *inbox = &sender->inbox;
    int read = recvmmsg(sender->fd, inbox->messages, TW_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
    uint64_t now_ns = tw_clock_unix_ns();

    for (int i = 0; i < read; i++) {
        struct tw_arrived arrived = {
            .packet = inbox->packets[i],
            .length = inbox->messages[i].msg_len,
            .now_ns = now_ns,
        };

        tw_address_to_endpoint(&inbox->sources[i], &arrived.source);
        tw_cmsg_read_arrival(&inbox->messages[i].msg_hdr, &arrived.rx);
        tw_samples_arrival(&sender->samples, &arrived);
    }
    empty_inbox(inbox, read);
    return read < 0 ? 0 : read;
}

/* Statistics go out, and what is known of clocks comes in.  A reader that holds the lock is not
 * waited for, unless it must be: the next time will do. */
static void exchange(struct tw_sender *sender, int must)
{
    if (must)
        pthread_mutex_lock(&sender->lock);
    else if (pthread_mutex_trylock(&sender->lock))
        return;
    sender->published = sender->samples.stats;
    if (sender->config.hardware)
        sender->samples.models = sender->models;
    pthread_mutex_unlock(&sender->lock);
}

/* 1 when all was read that had come before; under a flood it ends before event_ns, with 0. */
static int read_all(struct tw_sender *sender, uint64_t event_ns)
{
    for (int i = 0; i < READS_AT_A_TIME; i++) {
        int departures = read_departures(sender);
        int replies = read_replies(sender);

        if (departures < TW_BATCH && replies < TW_BATCH)
            break;
        if (tw_clock_monotonic_ns() + sender->margin_ns >= event_ns)
            return 0;
    }
    return 1;
}

/* What is done between two sends, but for the sleep. */
static void catch_up(struct tw_sender *sender, uint64_t event_ns)
{
    const int is_ring = sender->samples.departed_ns != NULL;
    uint64_t begin_ns = is_ring ? tw_clock_monotonic_ns() : 0;

    if (read_all(sender, event_ns) && is_ring)
        tw_samples_settle(&sender->samples, begin_ns, sender->config.loss_timeout_ns);
    sender->unread_sends = 0;
    uint64_t now_ns = tw_clock_monotonic_ns();
    if (now_ns >= sender->estimate_at_ns) {
        sender->error_estimate = tw_clock_error_estimate(
            T1_ERROR_NS + tw_device_clock_error_ns(&sender->samples.models));
        sender->estimate_at_ns = now_ns + TW_NS_PER_S;
    }
    exchange(sender, 0);
}

/* Without stamps the samples say that their times are this program's. */
static void choose_stamps(const struct tw_sender *sender)
{
    if (sender->config.hardware && tw_options_stamp_everything(sender->fd) == 0)
        return;
    if (tw_options_stamp_both(sender->fd) < 0)
        tw_options_stamp_receive(sender->fd);
}

/* After a refused send: numbers again from 0, once the stamps of earlier sends are in, or late. */
static void renumber(struct tw_sender *sender)
{
    const struct tw_send_ids *ids = &sender->samples.ids;

    read_departures(sender);
    if (ids->awaited && tw_clock_monotonic_ns() - ids->doubtful_since_ns < RENUMBER_AFTER_NS)
        return;
    /* The kernel begins again when the option is turned on anew. */
    tw_options_stamp_receive(sender->fd);
    choose_stamps(sender);
    tw_samples_renumber(&sender->samples);
}

/* Sealed as far as it can be before T1 is known: authenticated mode does not cover the timestamp.
 */
static void prepare_secured(struct tw_sender *sender, struct tw_secured_sender_packet *packet)
{
    *packet = (struct tw_secured_sender_packet){
        .sequence_number = tw_put32(sender->samples.attempted),
    };
    if (sender->config.mode == TW_MODE_AUTHENTICATED)
        tw_cipher_seal_request(sender->samples.cipher, (uint8_t *)packet);
}

static void finish_secured(struct tw_sender *sender, const struct tw_sender_packet *packet,
                           struct tw_secured_sender_packet *secured)
{
    secured->timestamp = packet->timestamp;
    secured->error_estimate = packet->error_estimate;
    if (sender->config.mode == TW_MODE_ENCRYPTED)
        tw_cipher_seal_request(sender->samples.cipher, (uint8_t *)secured);
}

static void send_packet(struct tw_sender *sender, uint64_t due_ns)
{
    const struct tw_sender_config *config = &sender->config;
    const int is_secured = config->mode != TW_MODE_UNAUTHENTICATED;
    struct tw_secured_sender_packet secured;
    struct tw_sender_packet packet;
    /* A window that moves: what repeats could be compressed on the way (RFC 4656 section 4.1.2). */
    const uint8_t *padding =
        config->padding ? config->padding + (sender->samples.attempted & 255) : NULL;
    struct iovec vectors[2] = {{is_secured ? (void *)&secured : (void *)&packet,
                                is_secured ? sizeof secured : sizeof packet},
                               {(void *)(uintptr_t)padding, config->padding_length}};
    struct msghdr message = {
        .msg_name = &sender->peer,
        .msg_namelen = sender->peer_length,
        .msg_iov = vectors,
        .msg_iovlen = config->padding_length ? 2 : 1,
    };
    uint64_t now_ns;

    if (sender->samples.ids.doubtful_from != UINT32_MAX)
        renumber(sender);
    if (is_secured)
        prepare_secured(sender, &secured);
    do
        now_ns = tw_clock_monotonic_ns();
    while (now_ns < due_ns);
    uint64_t late_ns = now_ns - due_ns;
    tw_samples_prepare(&sender->samples, tw_clock_unix_ns(),
                       late_ns > INT32_MAX ? INT32_MAX : (int32_t)late_ns, sender->error_estimate,
                       &packet);
    if (is_secured)
        finish_secured(sender, &packet, &secured);
    int error = sendmsg(sender->fd, &message, MSG_DONTWAIT) < 0 ? errno : 0;
    tw_samples_attempted(&sender->samples, error, now_ns);
    sender->last_send_ns = now_ns;
    sender->unread_sends++;
}

/* Follows how late the kernel wakes us: up by at most a half, so that one long preemption teaches
 * little, and slowly down: it settles where about one sleep in thirty is longer. */
static void learn_margin(struct tw_sender *sender, uint64_t overslept_ns)
{
    uint64_t margin_ns = sender->margin_ns;

    if (overslept_ns > 2 * margin_ns)
        margin_ns += margin_ns / 2;
    else if (overslept_ns > margin_ns)
        margin_ns += (overslept_ns - margin_ns) / 2;
    else
        margin_ns -= margin_ns / MARGIN_DECAY;
    if (margin_ns < MARGIN_LEAST_NS)
        margin_ns = MARGIN_LEAST_NS;
    if (margin_ns > MARGIN_MOST_NS)
        margin_ns = MARGIN_MOST_NS;
    sender->margin_ns = margin_ns;
}

/* How long before due_ns to wake. */
static uint64_t margin_before(const struct tw_sender *sender, uint64_t due_ns)
{
    uint64_t most_ns = (due_ns - sender->last_send_ns) / MARGIN_SHARE;

    if (most_ns < MARGIN_ALWAYS_NS)
        most_ns = MARGIN_ALWAYS_NS;
    return sender->margin_ns < most_ns ? sender->margin_ns : most_ns;
}

/* Sleeps until until_ns, a reply, a transmit stamp or a stop: 1 when something came, 0, or -errno.
 */
static int sleep_until(struct tw_sender *sender, uint64_t until_ns, uint64_t now_ns)
{
    uint64_t span_ns = until_ns - now_ns;
    struct pollfd polled[2] = {{.fd = sender->fd, .events = POLLIN},
                               {.fd = sender->wake_fd, .events = POLLIN}};

    if (span_ns > LONGEST_SLEEP_NS)
        span_ns = LONGEST_SLEEP_NS;
    struct timespec timeout = {(time_t)(span_ns / TW_NS_PER_S), (long)(span_ns % TW_NS_PER_S)};
    int ready = ppoll(polled, 2, &timeout, NULL);
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    now_ns = tw_clock_monotonic_ns();
    if (!ready && now_ns >= until_ns)
        learn_margin(sender, now_ns - until_ns);
    if (polled[1].revents) {
        eventfd_t wakes;
        eventfd_read(sender->wake_fd, &wakes);
    }
    if ((polled[0].revents & POLLERR) && !read_departures(sender)) {
        /* No stamp, so an error of the socket: reading it ends it, else there is no sleep any more.
         */
        int error;
        socklen_t length = sizeof error;
        getsockopt(sender->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    return ready > 0;
}

/* When the next packet is due, or the session over; never, while nothing more is scheduled. */
static uint64_t next_event(const struct tw_sender *sender, int sending)
{
    const struct tw_sender_config *config = &sender->config;
    uint32_t next = sender->samples.attempted;

    if (!sending)
        return sender->last_send_ns + config->loss_timeout_ns;
    if (next == __atomic_load_n(&sender->scheduled, __ATOMIC_ACQUIRE))
        return UINT64_MAX;
    return config->start_ns + config->schedule[tw_samples_row(&sender->samples, next)];
}

/* When the oldest row of a ring is to be given away. */
static uint64_t next_settling(const struct tw_sender *sender)
{
    const struct tw_samples *samples = &sender->samples;

    if (!samples->departed_ns || samples->settled == samples->attempted)
        return UINT64_MAX;
    return samples->departed_ns[tw_samples_row(samples, samples->settled)] +
           sender->config.loss_timeout_ns + SETTLING_SLACK_NS;
}

static void count_stall(struct tw_sender *sender)
{
    uint32_t next = sender->samples.attempted;

    if (sender->stalled_at == next)
        return;
    sender->stalled_at = next;
    sender->samples.stats.stalls++;
}

static int is_sending(const struct tw_sender *sender)
{
    return __atomic_load_n(&sender->stopping, __ATOMIC_RELAXED) == STOP_NOT &&
           sender->samples.attempted < sender->config.count;
}

/* Sends, or sleeps and reads: 1 to go on, 0 when the session is over, or -errno. */
static int take_turn(struct tw_sender *sender)
{
    int sending = is_sending(sender);
    uint64_t now_ns = tw_clock_monotonic_ns();
    uint64_t event_ns = next_event(sender, sending);
    uint64_t margin_ns = sending ? margin_before(sender, event_ns) : 0;

    if (__atomic_load_n(&sender->stopping, __ATOMIC_RELAXED) == STOP_NOW ||
        (!sending && !sender->samples.attempted))
        return 0;
    if (event_ns == UINT64_MAX)
        count_stall(sender);
    if (now_ns + margin_ns < event_ns) {
        uint64_t settling_ns = next_settling(sender);
        uint64_t until_ns = event_ns - margin_ns < settling_ns ? event_ns - margin_ns : settling_ns;
        int woken = until_ns <= now_ns ? 1 : sleep_until(sender, until_ns, now_ns);
        if (woken > 0)
            catch_up(sender, event_ns);
        return woken < 0 ? woken : 1;
    }
    if (!sending)
        return 0;
    send_packet(sender, event_ns);
    if (sender->unread_sends >= UNREAD_SENDS || !is_sending(sender) ||
        tw_clock_monotonic_ns() < next_event(sender, 1))
        catch_up(sender, next_event(sender, is_sending(sender)));
    return 1;
}

int tw_sender_run(struct tw_sender *sender)
{
    /* The kernel may wake a thread this much late; 50 µs by default. */
    int slack_ns = prctl(PR_GET_TIMERSLACK);
    int result;

    prctl(PR_SET_TIMERSLACK, 1UL);
    exchange(sender, 1);
    do
        result = take_turn(sender);
    while (result > 0);
    if (slack_ns > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack_ns);
    /* What is in the buffers arrived in time. */
    catch_up(sender, UINT64_MAX);
    tw_samples_finish(&sender->samples);
    exchange(sender, 1);
    return result;
}

int tw_sender_stop(struct tw_sender *sender, int drain)
{
    int wanted = drain ? STOP_DRAIN : STOP_NOW;
    int stopping = __atomic_load_n(&sender->stopping, __ATOMIC_RELAXED);

    while (stopping < wanted && !__atomic_compare_exchange_n(&sender->stopping, &stopping, wanted,
                                                             0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return eventfd_write(sender->wake_fd, 1) ? -errno : 0;
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
    uint32_t settled = __atomic_load_n(&samples->settled, __ATOMIC_ACQUIRE);

    /* Read after: what came twice was written before its row was settled. */
    *duplicates = __atomic_load_n(&samples->duplicates_written, __ATOMIC_ACQUIRE);
    return settled;
}

int tw_sender_schedule_until(struct tw_sender *sender, uint32_t sequence, uint64_t duplicates_taken)
{
    uint64_t duplicates;
    uint64_t settled = tw_sender_settled(sender, &duplicates);

    if (sequence < __atomic_load_n(&sender->scheduled, __ATOMIC_RELAXED) ||
        sequence > settled + sender->config.size || sequence > sender->config.count ||
        duplicates_taken < sender->samples.duplicates_taken || duplicates_taken > duplicates)
        return -EINVAL;
    __atomic_store_n(&sender->samples.duplicates_taken, duplicates_taken, __ATOMIC_RELEASE);
    __atomic_store_n(&sender->scheduled, sequence, __ATOMIC_RELEASE);
    return eventfd_write(sender->wake_fd, 1) ? -errno : 0;
}

static int check_config(const struct tw_sender_config *config, int fd)
{
    int domain = 0;
    socklen_t length = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length))
        return -errno;
    if (domain != (config->peer.ip_version == 4 ? AF_INET : AF_INET6))
        return -EAFNOSUPPORT;
    const size_t head = config->mode == TW_MODE_UNAUTHENTICATED
                            ? sizeof(struct tw_sender_packet)
                            : sizeof(struct tw_secured_sender_packet);
    if (config->padding_length > TW_PACKET_MAX - head)
        return -EMSGSIZE;
    if (config->mode != TW_MODE_UNAUTHENTICATED && config->mode != TW_MODE_AUTHENTICATED &&
        config->mode != TW_MODE_ENCRYPTED)
        return -EINVAL;
    if ((config->padding_length && !config->padding) || !config->peer.port ||
        (config->count && (!config->size || !config->schedule || !config->samples)) ||
        (config->duplicates_size && !config->duplicates))
        return -EINVAL;
    return 0;
}

static int open_sockets(struct tw_sender *sender, int fd)
{
    const struct tw_sender_config *config = &sender->config;
    int ip_version = config->peer.ip_version;
    int error;

    sender->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (sender->fd < 0)
        return -errno;
    sender->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sender->wake_fd < 0)
        return -errno;
    error = tw_options_prepare(sender->fd, ip_version, config->receive_buffer, config->ttl);
    if (!error)
        error = tw_options_set_dscp(sender->fd, ip_version, config->dscp);
    if (!error)
        choose_stamps(sender);
    return error;
}

int tw_sender_open(const struct tw_sender_config *config, int fd, struct tw_sender **sender)
{
    int error = check_config(config, fd);

    *sender = NULL;
    if (error)
        return error;
    struct tw_sender *opened = calloc(1, sizeof *opened);
    if (!opened)
        return -ENOMEM;
    opened->config = *config;
    opened->scheduled = config->count < config->size ? config->count : config->size;
    opened->stalled_at = UINT32_MAX;
    opened->samples = (struct tw_samples){
        .rows = config->samples,
        .size = config->size,
        .departed_ns = config->count > config->size ? config->schedule : NULL,
        .duplicates = config->duplicates,
        .duplicates_size = config->duplicates_size,
        .peer = config->peer,
        .cipher = tw_cipher_open(config->mode, &config->keys),
        .ids.doubtful_from = UINT32_MAX,
    };
    explicit_bzero(&opened->config.keys, sizeof opened->config.keys);
    opened->margin_ns = MARGIN_FIRST_NS;
    opened->error_estimate = tw_clock_error_estimate(T1_ERROR_NS);
    opened->peer_length = tw_address_from_endpoint(&config->peer, &opened->peer);
    opened->fd = opened->wake_fd = -1;
    pthread_mutex_init(&opened->lock, NULL);
    lay_out_inbox(&opened->inbox);
    error = open_sockets(opened, fd);
    if (!error && config->mode != TW_MODE_UNAUTHENTICATED && !opened->samples.cipher)
        error = -ENOMEM;
    if (error) {
        tw_sender_close(opened);
        return error;
    }
    *sender = opened;
    return 0;
}

void tw_sender_close(struct tw_sender *sender)
{
    if (!sender)
        return;
    if (sender->fd >= 0)
        close(sender->fd);
    if (sender->wake_fd >= 0)
        close(sender->wake_fd);
    tw_cipher_close(sender->samples.cipher);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}
