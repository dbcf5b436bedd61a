/* batch.c: packets in, replies out (RFC 5357 section 4.2); every packet ends as reflected or as one
 * named drop.  Nothing is allocated, and no lock is known here. */
#include "reflector/batch.h"
#include "kernel/clock.h"
#include "packet/reflect_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What T2 and T3 may be off by beside the clock: the kernel's stamps are right within microseconds,
 * each reply of a chunk leaves about two later than the one before it, and a T2 that this program
 * read waited for the loop to come by. */
#define STAMP_ERROR_NS    5000u
#define POSITION_ERROR_NS 2000u
#define WAKE_UP_ERROR_NS  1000000u

#define DSCP_BITS      0xfcu   /* of the TOS octet; the others are ECN's */
#define PTP_FORMAT_BIT 0x4000u /* Z, of the Error Estimate (RFC 8186 section 2.3) */

int tw_batch_open(struct tw_batch *batch, const struct tw_reflector_config *config)
{
    int result = tw_mmsg_open(&batch->rx);

    if (result == 0)
        result = tw_outbox_open(&batch->outbox, config->tx_batch, config->t3_budget_ns,
                                config->timestamp_format == TW_FORMAT_PTP);
    batch->least_error_ns =
        STAMP_ERROR_NS +
        (config->tx_batch == 0 ? config->t3_budget_ns : POSITION_ERROR_NS * config->tx_batch);
    batch->ptp = config->timestamp_format == TW_FORMAT_PTP;
    batch->takes_zero_error = config->takes_zero_error;
    batch->numberings = calloc(config->maximum_sessions, sizeof *batch->numberings);
    batch->outbox.t3_error.correct = config->t3_correction;
    batch->outbox.t3_error.models = &batch->models;
    batch->outbox.counters = batch->counters;
    batch->outbox.seed = config->hash_seed;
    batch->outbox.t3_error.off = config->timestamp == TW_TIMESTAMP_USER;
    batch->stamp_ids = calloc(2 * (size_t)config->maximum_sessions, sizeof *batch->stamp_ids);
    if (batch->numberings == NULL || batch->stamp_ids == NULL)
        return -ENOMEM;
    return result;
}

void tw_batch_close(struct tw_batch *batch)
{
    free(batch->numberings);
    free(batch->stamp_ids);
    tw_outbox_close(&batch->outbox);
    tw_mmsg_close(&batch->rx);
}

static void estimate_errors(struct tw_batch *batch, uint64_t now_ns)
{
    const uint64_t kernel_ns =
        batch->t3_error_ns != 0 ? STAMP_ERROR_NS + batch->t3_error_ns : batch->least_error_ns;

    if (batch->estimated_ns != 0 && now_ns - batch->estimated_ns < TW_NS_PER_S)
        return;
    batch->estimated_ns = now_ns;
    batch->error_estimates[TW_SOURCE_HARDWARE] =
        tw_clock_error_estimate(kernel_ns + tw_device_clock_error_ns(&batch->models));
    batch->error_estimates[TW_SOURCE_KERNEL] = tw_clock_error_estimate(kernel_ns);
    batch->error_estimates[TW_SOURCE_USER] = tw_clock_error_estimate(WAKE_UP_ERROR_NS);
}

/* RFC 8186 section 2.2 has PTP's format negotiated; only a light session has nothing to negotiate.
 */
static int is_ptp(const struct tw_batch *batch, const struct tw_verdict *verdict)
{
    return batch->ptp && verdict->light;
}

static uint64_t receive_time(const struct tw_batch *batch, const struct tw_verdict *verdict)
{
    return is_ptp(batch, verdict) ? tw_clock_ptp(verdict->received.ns)
                                  : tw_clock_ntp(verdict->received.ns);
}

static uint16_t error_estimate(const struct tw_batch *batch, const struct tw_verdict *verdict)
{
    const uint16_t format = is_ptp(batch, verdict) ? PTP_FORMAT_BIT : 0;

    return batch->error_estimates[verdict->received.source] | format;
}

/* When a packet came and by which clock (T2). */
static void date(struct tw_verdict *verdict, const struct tw_raw_stamps *raw,
                 const struct tw_clock_models *models, uint64_t now_ns)
{
    struct tw_stamp *received = &verdict->received;
    uint32_t refused;

    *received = (struct tw_stamp){.ns = now_ns, .source = TW_SOURCE_USER};
    refused = tw_stamp_choose(received, raw, models, now_ns, TW_PASSAGE_ARRIVAL);
    verdict->refused_stamp = refused != 0;
    if (received->source == TW_SOURCE_HARDWARE && raw->kernel_ns != 0 && refused == 0)
        verdict->lag_ns = raw->kernel_ns - received->ns + 1;
}

static void read_cmsgs(struct tw_batch *batch)
{
    const uint64_t now_ns = tw_clock_unix_ns();

    for (int i = 0; i < batch->count; i++) {
        struct tw_verdict *verdict = &batch->verdicts[i];
        struct msghdr *message = &batch->rx.headers[i].msg_hdr;

        *verdict = (struct tw_verdict){.session = TW_POOL_NONE};
        tw_cmsg_read_arrival(message, &batch->told[i]);
        date(verdict, &batch->told[i].stamps, &batch->models, now_ns);
        if (message->msg_flags & MSG_TRUNC)
            verdict->drop = TW_DROP_LONG;
    }
}

int tw_batch_receive(struct tw_batch *batch, int fd)
{
    batch->count = tw_mmsg_receive(&batch->rx, fd);
    if (batch->count <= 0)
        return batch->count;
    read_cmsgs(batch);
    batch->now_ns = tw_clock_monotonic_ns();
    estimate_errors(batch, batch->now_ns);
    return batch->count;
}

void tw_batch_assign(struct tw_batch *batch, struct tw_pool *pool, struct tw_admission *admission,
                     uint32_t socket)
{
    const uint16_t own_port = pool->sockets[socket].key.port;

    batch->socket = socket;
    if (batch->stamp_ids[socket].generation != pool->sockets[socket].generation)
        batch->stamp_ids[socket] =
            (struct tw_stamp_ids){.generation = pool->sockets[socket].generation};
    for (int i = 0; i < batch->count; i++) {
        struct tw_verdict *verdict = &batch->verdicts[i];
        struct tw_pool_session *session;
        struct tw_endpoint peer;
        uint8_t refused;

        if (tw_address_to_endpoint(&batch->rx.names[i], &peer) == 0)
            verdict->session = tw_pool_find_session(pool, socket, &peer);
        if (verdict->session == TW_POOL_NONE) {
            verdict->drop = TW_DROP_NO_SESSION;
            continue;
        }
        session = &pool->sessions[verdict->session];
        verdict->generation = session->generation;
        verdict->layout = session->layout;
        verdict->light = session->light;
        verdict->tos = session->light ? batch->told[i].tos & DSCP_BITS : session->tos;
        verdict->cipher = session->cipher;
        refused = tw_admission_refuse(admission, session, &peer, own_port, batch->now_ns);
        if (refused)
            verdict->drop = refused;
    }
}

static struct tw_numbering *numbering_of(struct tw_batch *batch, const struct tw_verdict *verdict)
{
    struct tw_numbering *numbering = &batch->numberings[verdict->session];

    if (numbering->generation != verdict->generation)
        *numbering = (struct tw_numbering){.generation = verdict->generation};
    return numbering;
}

/* The reply to packet i under that number, sealed as far as it can be before T3 is known; its
 * length, or -TW_DROP_.... */
static int reflect(struct tw_batch *batch, int i, uint32_t number, uint8_t *reply)
{
    const struct tw_verdict *verdict = &batch->verdicts[i];
    const struct tw_arrival arrival = {
        .receive_timestamp = receive_time(batch, verdict),
        .sequence_number = number,
        .error_estimate = error_estimate(batch, verdict),
        .sender_ttl = batch->told[i].ttl,
        .takes_zero_error = batch->takes_zero_error,
    };
    struct tw_cipher *cipher = verdict->cipher;
    uint8_t *request = batch->rx.vectors[i].iov_base;
    const size_t length = batch->rx.headers[i].msg_len;
    int result;

    if (cipher != NULL && length >= verdict->layout->shortest_request &&
        !tw_crypto_unseal_request(cipher, request))
        return -TW_DROP_HMAC;
    result = tw_reflect(verdict->layout, request, length, &arrival, reply);
    /* Authenticated mode does not cover the timestamps: all cryptography before T3. */
    if (result > 0 && cipher != NULL && tw_crypto_mode(cipher) == TW_MODE_AUTHENTICATED)
        tw_crypto_seal_reply(cipher, reply);
    return result;
}

static struct tw_outgoing reply_to(const struct tw_verdict *verdict)
{
    return (struct tw_outgoing){
        .cipher = verdict->cipher,
        .layout = verdict->layout,
        .session = verdict->session,
        .light = verdict->light,
    };
}

static uint8_t has_zero_error(const struct tw_layout *layout, const uint8_t *request)
{
    return request[layout->error_estimate + TW_MULTIPLIER] == 0;
}

/* Lays the replies into the outbox; how many. */
static int build(struct tw_batch *batch)
{
    struct tw_mmsg *rx = &batch->rx;
    struct tw_mmsg *tx = &batch->outbox.io;
    int replies = 0;

    for (int i = 0; i < batch->count; i++) {
        struct tw_verdict *verdict = &batch->verdicts[i];
        struct tw_numbering *numbering;
        int length;

        if (verdict->drop)
            continue;
        numbering = numbering_of(batch, verdict);
        length = reflect(batch, i, numbering->next, tx->vectors[replies].iov_base);
        if (length < 0) {
            verdict->drop = (uint8_t)-length;
            continue;
        }
        verdict->sender_number = tw_read32(rx->vectors[i].iov_base);
        verdict->zero_error = has_zero_error(verdict->layout, rx->vectors[i].iov_base);
        verdict->number =
            verdict->layout->number_copied ? verdict->sender_number : numbering->next++;
        tx->vectors[replies].iov_len = (size_t)length;
        tw_mmsg_address(tx, replies, &rx->headers[i].msg_hdr, verdict->tos, &batch->told[i]);
        batch->outbox.replies[replies] = reply_to(verdict);
        batch->answered[replies++] = (uint8_t)i;
    }
    return replies;
}

void tw_batch_answer(struct tw_batch *batch, int fd)
{
    const int replies = build(batch);

    if (replies > 0)
        tw_outbox_send(&batch->outbox, fd, &batch->stamp_ids[batch->socket], replies);
    for (int i = 0; i < replies; i++) {
        batch->verdicts[batch->answered[i]].drop = batch->outbox.replies[i].drop;
    }
}

/* A good packet, whatever became of the reply. */
static int is_good(const struct tw_verdict *verdict)
{
    return !verdict->drop || verdict->drop == TW_DROP_SEND_BUFFER ||
           verdict->drop == TW_DROP_SEND_REFUSED;
}

static void count_in_session(struct tw_pool_session *session, const struct tw_verdict *verdict,
                             uint64_t now_ns)
{
    if (!session->used || session->generation != verdict->generation)
        return; /* removed meanwhile */
    session->stats.received++;
    if (verdict->drop) {
        session->stats.dropped++;
    } else {
        session->stats.reflected++;
        session->stats.zero_error_estimates += verdict->zero_error;
        session->stats.last_sent_sequence = verdict->number;
    }
    if (!is_good(verdict))
        return;
    session->stats.last_packet_ns = now_ns;
    session->stats.last_received_sequence = verdict->sender_number;
    session->stats.last_source = (uint8_t)verdict->received.source;
}

/* A packet carries the count since the socket's birth, as it was when the packet was queued. */
void tw_batch_count_overflows(struct tw_batch *batch, struct tw_pool_socket *socket,
                              uint32_t overflows)
{
    const int32_t more = (int32_t)(overflows - socket->overflows);

    if (overflows == 0 || more <= 0)
        return;
    socket->overflows = overflows;
    batch->counters[TW_COUNTER_OVERFLOWS] += (uint32_t)more;
}

void tw_batch_read_stamps(struct tw_batch *batch, int fd, uint32_t socket)
{
    tw_t3_error_read(&batch->outbox.t3_error, fd, &batch->stamp_ids[socket]);
}

/* All at once, so that the sums hold in every snapshot. */
void tw_batch_post(struct tw_batch *batch, struct tw_pool *pool, struct tw_batch_records *records)
{
    struct tw_reflector_stats *stats = &records->stats;

    if (tw_t3_error_post(&batch->outbox.t3_error, &records->t3_error))
        batch->t3_error_ns = tw_histogram_percentile(&records->t3_error.error, 99);
    stats->t3_chunk = batch->outbox.single.eighths;
    for (int i = 0; i < batch->count; i++) {
        const struct tw_verdict *verdict = &batch->verdicts[i];

        stats->received++;
        if (verdict->drop)
            stats->drops[verdict->drop]++;
        else
            stats->reflected++;
        stats->receive_sources[verdict->received.source]++;
        if (verdict->lag_ns != 0)
            tw_histogram_add(&records->receive_lag, verdict->lag_ns - 1);
        if (!verdict->drop)
            batch->counters[TW_COUNTER_ZERO_ERROR_ESTIMATES] += verdict->zero_error;
        batch->counters[TW_COUNTER_REFUSED_STAMPS] += verdict->refused_stamp;
        batch->counters[TW_COUNTER_TRUNCATED_CONTROL] += batch->told[i].truncated;
        tw_batch_count_overflows(batch, &pool->sockets[batch->socket], batch->told[i].overflows);
        if (verdict->session != TW_POOL_NONE)
            count_in_session(&pool->sessions[verdict->session], verdict, batch->now_ns);
    }
    memcpy(stats->counters, batch->counters, sizeof stats->counters);
}
