/* loop.c: the Session-Sender's loop (RFC 5357 section 4.1): sends on schedule, and reads replies
 * and transmit stamps all the while.  It sleeps until shortly before a packet is due and then
 * watches the clock; packets that are overdue go at once.  Trouble with one packet is a counter, no
 * end. */
#include "sender/sender.h"
#include "kernel/clock.h"
#include "kernel/options.h"
#include "packet/octets.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

/* The margin: how long the clock is watched before a packet is due.  MARGIN_ALWAYS_NS is allowed at
 * any rate; more is, up to MARGIN_MOST_NS, as a share of the time since the last send, so that less
 * than a tenth of a core is burnt below 1,000 packets per second. */
#define MARGIN_FIRST_NS  50000u
#define MARGIN_LEAST_NS  20000u
#define MARGIN_ALWAYS_NS 80000u
#define MARGIN_MOST_NS   400000u
#define MARGIN_SHARE     12
#define MARGIN_DECAY     64

#define UNREAD_SENDS      16u        /* overdue packets sent before replies and stamps are read */
#define READS_AT_A_TIME   256        /* batches, more than a buffer holds; stop is seen between */
#define RENUMBER_AFTER_NS 100000000u /* stamps of older sends have come by then or never will */
#define SETTLING_SLACK_NS 50000000u  /* so that a ring's rows do not wake us one by one */
#define LONGEST_SLEEP_NS  (60ull * TW_NS_PER_S)
#define DUPLICATES_NS 250000000u /* so long they are waited for, when every packet is answered */
#define NEVER         UINT64_MAX

void tw_sender_prepare_loop(struct tw_sender *sender)
{
    sender->stalled_at = UINT32_MAX;
    sender->margin_ns = MARGIN_FIRST_NS;
    sender->error_estimate = tw_clock_error_estimate(TW_SENDER_T1_ERROR_NS);
    tw_inbox_open(&sender->inbox);
}

/* ---- reading */

static int read_departures(struct tw_sender *sender)
{
    return tw_inbox_read_departures(&sender->inbox, sender->fd, &sender->samples);
}

/* Reads all that had come before: 1; or 0 when a flood would take it beyond event_ns. */
static int read_all(struct tw_sender *sender, uint64_t event_ns)
{
    for (int i = 0; i < READS_AT_A_TIME; i++) {
        const int departures = read_departures(sender);
        const int replies = tw_inbox_read_replies(&sender->inbox, sender->fd, &sender->samples);

        if (departures < TW_BATCH && replies < TW_BATCH)
            break;
        if (tw_clock_monotonic_ns() + sender->margin_ns >= event_ns)
            return 0;
    }
    return 1;
}

/* Publishes the statistics and takes over the models of clocks, under the lock. */
static void exchange(struct tw_sender *sender)
{
    sender->published = sender->samples.stats;
    if (sender->config.hardware)
        sender->samples.models = sender->models;
}

static void exchange_for_sure(struct tw_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    exchange(sender);
    pthread_mutex_unlock(&sender->lock);
}

/* A reader that holds the lock is not waited for: the next time will do. */
static void exchange_if_free(struct tw_sender *sender)
{
    if (pthread_mutex_trylock(&sender->lock) != 0)
        return;
    exchange(sender);
    pthread_mutex_unlock(&sender->lock);
}

/* Reads what has come, settles rows of a ring, and exchanges, between two sends. */
static void catch_up(struct tw_sender *sender, uint64_t event_ns)
{
    struct tw_samples *samples = &sender->samples;
    const int is_ring = samples->departed_ns != NULL;
    const uint64_t begin_ns = is_ring ? tw_clock_monotonic_ns() : 0;
    uint64_t now_ns;

    if (read_all(sender, event_ns) && is_ring)
        tw_samples_settle(samples, begin_ns, sender->config.loss_timeout_ns);
    sender->unread_sends = 0;
    now_ns = tw_clock_monotonic_ns();
    if (samples->rank != sender->rank_read) {
        sender->rank_read = samples->rank;
        sender->last_arrival_ns = now_ns;
    }
    if (now_ns >= sender->estimate_at_ns) {
        sender->error_estimate = tw_clock_error_estimate(
            TW_SENDER_T1_ERROR_NS + tw_device_clock_error_ns(&samples->models));
        sender->estimate_at_ns = now_ns + TW_NS_PER_S;
    }
    exchange_if_free(sender);
}

/* ---- sending */

void tw_sender_choose_stamps(const struct tw_sender *sender)
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
    if (ids->awaited > 0 && tw_clock_monotonic_ns() - ids->doubtful_since_ns < RENUMBER_AFTER_NS)
        return;
    /* The kernel begins again when the option is turned on anew. */
    tw_options_stamp_receive(sender->fd);
    tw_sender_choose_stamps(sender);
    tw_samples_renumber(&sender->samples);
}

/* Writes the head of the next packet, as far as it can be before T1 is known: authenticated mode
 * does not cover the timestamp. */
static void begin_head(const struct tw_sender *sender, uint8_t *head)
{
    const struct tw_samples *samples = &sender->samples;

    memset(head, 0, samples->layout->request_octets);
    tw_write32(head, samples->attempted);
    if (sender->config.mode == TW_MODE_AUTHENTICATED)
        tw_crypto_seal_request(samples->cipher, head);
}

static void finish_head(const struct tw_sender *sender, uint8_t *head, uint64_t t1)
{
    const struct tw_layout *layout = sender->samples.layout;

    tw_write64(head + layout->timestamp, t1);
    tw_write16(head + layout->error_estimate, sender->error_estimate);
    if (sender->config.mode == TW_MODE_ENCRYPTED)
        tw_crypto_seal_request(sender->samples.cipher, head);
}

/* Watches the clock; returns what it showed, due_ns or later. */
static uint64_t wait_for(uint64_t due_ns)
{
    uint64_t now_ns;

    do
        now_ns = tw_clock_monotonic_ns();
    while (now_ns < due_ns);
    return now_ns;
}

/* A window that moves: what repeats could be compressed on the way (RFC 4656 section 4.1.2). */
static struct iovec padding_of(const struct tw_sender *sender)
{
    const struct tw_sender_config *config = &sender->config;
    const uint32_t offset = sender->samples.attempted & 255;

    if (config->padding_length == 0)
        return (struct iovec){.iov_base = NULL};
    return (struct iovec){(void *)(uintptr_t)(config->padding + offset), config->padding_length};
}

/* Sends; returns 0 or the errno of the refusal.  An ICMP error about an earlier packet makes a send
 * fail that has nothing to do with it, once: that one is tried again. */
static int send_or_retry(struct tw_sender *sender, const struct msghdr *message, uint64_t now_ns)
{
    if (sendmsg(sender->fd, message, MSG_DONTWAIT) >= 0)
        return 0;
    if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH &&
        errno != EMSGSIZE && errno != EACCES && errno != EPROTO)
        return errno;
    read_departures(sender);
    if (sendmsg(sender->fd, message, MSG_DONTWAIT) < 0)
        return errno;
    tw_samples_doubt(&sender->samples, now_ns);
    return 0;
}

static void send_packet(struct tw_sender *sender, uint64_t due_ns)
{
    struct tw_samples *samples = &sender->samples;
    uint8_t head[TW_REQUEST_HEAD];
    struct iovec vectors[2] = {{head, samples->layout->request_octets}, padding_of(sender)};
    const struct msghdr message = {
        .msg_name = &sender->peer,
        .msg_namelen = sender->peer_length,
        .msg_iov = vectors,
        .msg_iovlen = vectors[1].iov_len > 0 ? 2 : 1,
    };
    uint64_t now_ns;
    uint64_t late_ns;
    uint64_t t1;
    int error;

    if (samples->ids.doubtful_from != UINT32_MAX)
        renumber(sender);
    begin_head(sender, head);
    now_ns = wait_for(due_ns);
    late_ns = now_ns - due_ns < INT32_MAX ? now_ns - due_ns : INT32_MAX;
    t1 = tw_samples_prepare(samples, tw_clock_unix_ns(), (int32_t)late_ns, sender->error_estimate);
    finish_head(sender, head, t1);
    error = send_or_retry(sender, &message, now_ns);
    tw_samples_attempted(samples, error, now_ns);
    sender->last_send_ns = now_ns;
    sender->unread_sends++;
}

/* ---- sleeping */

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

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How long before due_ns to wake. */
static uint64_t margin_before(const struct tw_sender *sender, uint64_t due_ns)
{
    const uint64_t share_ns = (due_ns - sender->last_send_ns) / MARGIN_SHARE;

    return smaller(sender->margin_ns, share_ns > MARGIN_ALWAYS_NS ? share_ns : MARGIN_ALWAYS_NS);
}

/* No stamp, so an error of the socket: reading it ends it, else there would be no sleep any more.
 */
static void clear_error(int fd)
{
    socklen_t length = sizeof(int);
    int error;

    (void)!getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
}

/* Sleeps until until_ns, a reply, a transmit stamp or a stop: 1 when something came, 0, or -errno.
 */
static int sleep_until(struct tw_sender *sender, uint64_t until_ns, uint64_t now_ns)
{
    const uint64_t span_ns = smaller(until_ns - now_ns, LONGEST_SLEEP_NS);
    const struct timespec timeout = {(time_t)(span_ns / TW_NS_PER_S),
                                     (long)(span_ns % TW_NS_PER_S)};
    struct pollfd polled[2] = {{.fd = sender->fd, .events = POLLIN},
                               {.fd = sender->wake_fd, .events = POLLIN}};
    const int ready = ppoll(polled, 2, &timeout, NULL);
    eventfd_t wakes;

    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    now_ns = tw_clock_monotonic_ns();
    if (ready == 0 && now_ns >= until_ns)
        learn_margin(sender, now_ns - until_ns);
    if (polled[1].revents != 0)
        eventfd_read(sender->wake_fd, &wakes);
    if ((polled[0].revents & POLLERR) && read_departures(sender) == 0)
        clear_error(sender->fd);
    return ready > 0;
}

/* ---- the loop */

/* When the session is over, of which all is sent. */
static uint64_t end_of_session(const struct tw_sender *sender)
{
    const struct tw_samples *samples = &sender->samples;
    const uint64_t timeout_ns = sender->last_send_ns + sender->config.loss_timeout_ns;

    if (samples->departed_ns != NULL ||
        samples->rank - samples->stats.duplicates < samples->stats.sent)
        return timeout_ns;
    return smaller(timeout_ns, sender->last_arrival_ns + DUPLICATES_NS);
}

/* When the next packet is due, or the session over; NEVER, while nothing more is scheduled. */
static uint64_t next_event(const struct tw_sender *sender, int sending)
{
    const struct tw_sender_config *config = &sender->config;
    const uint32_t next = sender->samples.attempted;

    if (!sending)
        return end_of_session(sender);
    if (next == atomic_load_explicit(&sender->scheduled, memory_order_acquire))
        return NEVER;
    return config->start_ns + config->schedule[tw_samples_row(&sender->samples, next)];
}

/* When the oldest row of a ring is to be given away. */
static uint64_t next_settling(const struct tw_sender *sender)
{
    const struct tw_samples *samples = &sender->samples;

    if (samples->departed_ns == NULL || samples->settled == samples->attempted)
        return NEVER;
    return samples->departed_ns[tw_samples_row(samples, samples->settled)] +
           sender->config.loss_timeout_ns + SETTLING_SLACK_NS;
}

static void count_stall(struct tw_sender *sender)
{
    const uint32_t next = sender->samples.attempted;

    if (sender->stalled_at == next)
        return;
    sender->stalled_at = next;
    sender->samples.stats.stalls++;
}

static int stopping_of(const struct tw_sender *sender)
{
    return atomic_load_explicit(&sender->stopping, memory_order_relaxed);
}

static int is_sending(const struct tw_sender *sender)
{
    return stopping_of(sender) == TW_SENDER_RUNS &&
           sender->samples.attempted < sender->config.count;
}

/* Sleeps until wake_ns, or until a ring's row settles, and reads what has come: 1, or -errno. */
static int sleep_and_read(struct tw_sender *sender, uint64_t wake_ns, uint64_t now_ns,
                          uint64_t event_ns)
{
    const uint64_t until_ns = smaller(wake_ns, next_settling(sender));
    const int woken = until_ns <= now_ns ? 1 : sleep_until(sender, until_ns, now_ns);

    if (woken > 0)
        catch_up(sender, event_ns);
    return woken < 0 ? woken : 1;
}

/* Sends, or sleeps and reads: 1 to go on, 0 when the session is over, or -errno. */
static int take_turn(struct tw_sender *sender)
{
    const int sending = is_sending(sender);
    const uint64_t now_ns = tw_clock_monotonic_ns();
    const uint64_t event_ns = next_event(sender, sending);
    const uint64_t margin_ns = sending ? margin_before(sender, event_ns) : 0;

    if (stopping_of(sender) == TW_SENDER_STOPS || (!sending && sender->samples.attempted == 0))
        return 0;
    if (event_ns == NEVER)
        count_stall(sender);
    if (now_ns + margin_ns < event_ns)
        return sleep_and_read(sender, event_ns - margin_ns, now_ns, event_ns);
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
    const int slack_ns = prctl(PR_GET_TIMERSLACK);
    int result;

    prctl(PR_SET_TIMERSLACK, 1ul);
    exchange_for_sure(sender);
    do
        result = take_turn(sender);
    while (result > 0);
    if (slack_ns > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack_ns);
    catch_up(sender, NEVER); /* what is in the buffers arrived in time */
    tw_samples_finish(&sender->samples);
    exchange_for_sure(sender);
    return result;
}
