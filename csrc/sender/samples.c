/* samples.c: the table of samples: what each send, transmit stamp and arriving datagram writes into
 * it.  Memory only: no system calls, nothing allocated; any octets of a reply are harmless.
 * Always: received == rows with a rank + duplicates + the sum of drops. */
#include "sender/samples.h"
#include "kernel/clock.h"
#include "kernel/stamp.h"
#include "packet/octets.h"

#include <string.h>

/* Of an Error Estimate. */
#define MULTIPLIER 0x00ff /* never 0 (RFC 4656 section 4.1.2) */
#define S          0x8000 /* synchronised */
#define Z          0x4000 /* PTPv2 truncated format (RFC 8186 section 2.3) */

static struct tw_sample *row_of(const struct tw_samples *samples, uint32_t sequence)
{
    return &samples->rows[tw_samples_row(samples, sequence)];
}

/* ---- what leaves */

uint64_t tw_samples_prepare(struct tw_samples *samples, uint64_t unix_ns, int32_t lateness_ns,
                            uint16_t error_estimate)
{
    struct tw_sample *row = row_of(samples, samples->attempted);

    /* In a ring another packet's sample may still stand there. */
    *row = (struct tw_sample){
        .t1 = tw_clock_ntp(unix_ns),
        .sequence_number = samples->attempted,
        .lateness_ns = lateness_ns,
        .sender_error_estimate = error_estimate,
    };
    samples->written_t1[tw_samples_row(samples, samples->attempted)] = row->t1;
    return row->t1;
}

static void doubt_from(struct tw_send_ids *ids, uint32_t sequence, uint64_t monotonic_ns)
{
    if (ids->doubtful_from != UINT32_MAX)
        return;
    ids->doubtful_from = sequence;
    ids->doubtful_since_ns = monotonic_ns;
}

void tw_samples_attempted(struct tw_samples *samples, int error, uint64_t monotonic_ns)
{
    struct tw_send_ids *ids = &samples->ids;
    const uint32_t sequence = samples->attempted++;
    const uint32_t row = tw_samples_row(samples, sequence);

    if (samples->departed_ns != NULL)
        samples->departed_ns[row] = monotonic_ns;
    if (error == 0) {
        samples->rows[row].t1_source = TW_SOURCE_USER;
        samples->stats.sent++;
        ids->awaited++;
        return;
    }
    samples->stats.send_errors++;
    samples->stats.send_errno = error;
    doubt_from(ids, sequence, monotonic_ns);
}

void tw_samples_doubt(struct tw_samples *samples, uint64_t monotonic_ns)
{
    doubt_from(&samples->ids, samples->attempted, monotonic_ns);
}

void tw_samples_renumber(struct tw_samples *samples)
{
    samples->ids = (struct tw_send_ids){
        .first = samples->attempted,
        .doubtful_from = UINT32_MAX,
    };
}

/* The row of the packet that was sent under that id; NULL when there is none, or none for sure. */
static struct tw_sample *row_of_send(const struct tw_samples *samples, uint32_t id)
{
    const uint64_t sequence = (uint64_t)samples->ids.first + id;
    struct tw_sample *row;

    if (sequence < samples->settled || sequence >= samples->attempted ||
        sequence >= samples->ids.doubtful_from)
        return NULL;
    row = row_of(samples, (uint32_t)sequence);
    return row->t1_source == TW_SOURCE_NONE ? NULL : row;
}

void tw_samples_departure(struct tw_samples *samples, const struct tw_departure *departure,
                          uint64_t now_ns)
{
    const struct tw_raw_stamps *raw = &departure->stamps;
    struct tw_sample *row = row_of_send(samples, departure->id);
    struct tw_stamp stamp;

    if (samples->ids.awaited > 0 && raw->kernel_ns != 0)
        samples->ids.awaited--;
    if (row == NULL) {
        samples->stats.refused_stamps += raw->kernel_ns != 0;
        samples->stats.refused_stamps += raw->hardware_ns != 0;
        return;
    }
    stamp = (struct tw_stamp){.ns = tw_clock_unix(row->t1, now_ns), .source = row->t1_source};
    samples->stats.refused_stamps +=
        tw_stamp_choose(&stamp, raw, &samples->models, now_ns, TW_PASSAGE_DEPARTURE);
    row->t1 = tw_clock_ntp(stamp.ns);
    row->t1_source = (uint8_t)stamp.source;
}

/* ---- what arrives */

static int is_peer(const struct tw_endpoint *peer, const struct tw_endpoint *source)
{
    return source->port == peer->port && source->ip_version == peer->ip_version &&
           memcmp(source->address, peer->address, peer->ip_version == 4 ? 4 : 16) == 0;
}

/* The fields of a reply, whatever its layout. */
struct reply {
    uint64_t t2; /* as the peer wrote it */
    uint64_t t3;
    uint32_t number; /* the reflector's own */
    uint64_t sender_timestamp;
    uint32_t sender_number;
    uint16_t sender_error_estimate;
    uint16_t error_estimate;
    uint8_t sender_ttl;
};

/* 0, or enum tw_sender_drop. */
static int read_reply(const struct tw_samples *samples, const struct tw_arrived *arrived,
                      struct reply *reply)
{
    const struct tw_layout *layout = samples->layout;
    uint8_t head[TW_REPLY_HEAD];

    if (arrived->length < layout->reply_octets)
        return TW_SENDER_DROP_SHORT;
    memcpy(head, arrived->packet, layout->reply_octets);
    if (samples->cipher != NULL && !tw_crypto_unseal_reply(samples->cipher, head))
        return TW_SENDER_DROP_HMAC;
    *reply = (struct reply){
        .t2 = tw_read64(head + layout->receive_timestamp),
        .t3 = tw_read64(head + layout->timestamp),
        .number = tw_read32(head),
        .sender_timestamp = tw_read64(head + layout->sender_timestamp),
        .sender_number = tw_read32(head + layout->sender_sequence_number),
        .sender_error_estimate = tw_read16(head + layout->sender_error_estimate),
        .error_estimate = tw_read16(head + layout->error_estimate),
        .sender_ttl = head[layout->sender_ttl],
    };
    return 0;
}

/* Whether a further copy of a packet would overwrite one that nobody has taken yet. */
static int has_no_room(const struct tw_samples *samples)
{
    const uint64_t taken = atomic_load_explicit(&samples->duplicates_taken, memory_order_acquire);

    return samples->stats.duplicates - taken >= samples->duplicates_size;
}

/* Whether it repeats what the packet carried, which somebody who has not seen it cannot (RFC 5357
 * section 4.2.1: exact copies). */
static int is_echo(const struct tw_samples *samples, const struct reply *reply)
{
    const uint32_t row = tw_samples_row(samples, reply->sender_number);

    return reply->sender_timestamp == samples->written_t1[row] &&
           reply->sender_error_estimate == samples->rows[row].sender_error_estimate;
}

static int has_estimate(const struct reply *reply)
{
    return (reply->error_estimate & MULTIPLIER) != 0;
}

/* RFC 5357 section 4.2.1 on the layout, RFC 4656 section 4.1.2 on the Multiplier; 0 or enum
 * tw_sender_drop. */
static int judge(const struct tw_samples *samples, const struct tw_arrived *arrived,
                 struct reply *reply)
{
    const struct tw_sample *row;
    uint32_t sequence;
    int drop;

    if (!samples->any_source && !is_peer(&samples->peer, &arrived->source))
        return TW_SENDER_DROP_FOREIGN;
    if (arrived->length > TW_PACKET_MAX)
        return TW_SENDER_DROP_LONG;
    drop = read_reply(samples, arrived, reply);
    if (drop != 0)
        return drop;
    if (!samples->zero_estimate && !has_estimate(reply))
        return TW_SENDER_DROP_ERROR_ESTIMATE;
    sequence = reply->sender_number;
    if (sequence >= samples->attempted)
        return TW_SENDER_DROP_SEQUENCE;
    if (sequence < samples->settled)
        return TW_SENDER_DROP_LATE;
    row = row_of(samples, sequence);
    if (row->t1_source == TW_SOURCE_NONE)
        return TW_SENDER_DROP_SEQUENCE;
    if (!is_echo(samples, reply))
        return TW_SENDER_DROP_ECHO;
    if (row->rank != 0 && has_no_room(samples))
        return TW_SENDER_DROP_NO_ROOM;
    return 0;
}

/* T4, of the best source that there is. */
static void date(struct tw_samples *samples, struct tw_sample *row,
                 const struct tw_arrived *arrived)
{
    const struct tw_raw_stamps *raw = &arrived->rx.stamps;
    struct tw_stamp stamp = {.ns = arrived->now_ns, .source = TW_SOURCE_USER};

    samples->stats.refused_stamps +=
        tw_stamp_choose(&stamp, raw, &samples->models, arrived->now_ns, TW_PASSAGE_ARRIVAL);
    samples->stats.refused_stamps += raw->kernel_ns == 0; /* asked for, and not given */
    row->t4 = tw_clock_ntp(stamp.ns);
    row->t4_source = (uint8_t)stamp.source;
}

/* A timestamp of the peer as NTP; 0, which is no time, stays 0. */
static uint64_t peer_ntp(uint64_t timestamp, uint16_t error_estimate)
{
    return timestamp != 0 && error_estimate & Z ? tw_clock_ntp_of_ptp(timestamp) : timestamp;
}

static void fill_arrival(struct tw_samples *samples, struct tw_sample *row,
                         const struct tw_arrived *arrived, const struct reply *reply)
{
    row->t2 = peer_ntp(reply->t2, reply->error_estimate);
    row->t3 = peer_ntp(reply->t3, reply->error_estimate);
    date(samples, row, arrived);
    row->reflector_sequence_number = reply->number;
    row->reflector_error_estimate = reply->error_estimate;
    if (!has_estimate(reply)) { /* then nothing says how well the clock is kept */
        row->reflector_error_estimate &= (uint16_t)~S;
        samples->stats.without_estimate++;
    }
    samples->rank += samples->rank == UINT32_MAX ? 2 : 1; /* 0 would be no reply */
    row->rank = samples->rank;
    row->sender_ttl = reply->sender_ttl;
    row->ttl = arrived->rx.ttl;
    row->tos = arrived->rx.tos;
}

void tw_samples_arrival(struct tw_samples *samples, const struct tw_arrived *arrived)
{
    struct tw_sender_stats *stats = &samples->stats;
    struct reply reply = {0};
    const int drop = judge(samples, arrived, &reply);
    struct tw_sample *first;
    struct tw_sample *copy;

    stats->received++;
    stats->truncated_control += arrived->rx.truncated != 0;
    if (drop != 0) {
        stats->drops[drop]++;
        if (drop == TW_SENDER_DROP_FOREIGN)
            stats->foreign = arrived->source;
        return;
    }
    first = row_of(samples, reply.sender_number);
    if (first->rank == 0) {
        fill_arrival(samples, first, arrived, &reply);
        return;
    }
    copy = &samples->duplicates[stats->duplicates % samples->duplicates_size];
    *copy = *first;
    fill_arrival(samples, copy, arrived, &reply);
    stats->duplicates++;
    atomic_store_explicit(&samples->duplicates_written, stats->duplicates, memory_order_release);
}

void tw_samples_icmp(struct tw_samples *samples, const struct tw_icmp_error *icmp)
{
    struct tw_sender_stats *stats = &samples->stats;

    if (icmp->mtu != 0)
        stats->path_mtu = icmp->mtu;
    if (icmp->kind == 0 || icmp->kind >= TW_ICMP_COUNT)
        return;
    stats->icmp[icmp->kind]++;
    stats->icmp_source = icmp->source;
}

/* ---- what is final */

static void settle_until(struct tw_samples *samples, uint32_t sequence)
{
    atomic_store_explicit(&samples->settled, sequence, memory_order_release);
}

void tw_samples_settle(struct tw_samples *samples, uint64_t now_ns, uint64_t timeout_ns)
{
    uint32_t settled = samples->settled;

    while (settled < samples->attempted &&
           samples->departed_ns[tw_samples_row(samples, settled)] + timeout_ns <= now_ns)
        settled++;
    if (settled != samples->settled)
        settle_until(samples, settled);
}

void tw_samples_finish(struct tw_samples *samples)
{
    settle_until(samples, samples->attempted);
    if (samples->departed_ns != NULL) /* duplicates may be in other hands already */
        return;
    for (uint64_t i = 0; i < samples->stats.duplicates; i++) {
        struct tw_sample *row = &samples->duplicates[i];
        const struct tw_sample *first = &samples->rows[row->sequence_number];

        row->t1 = first->t1;
        row->t1_source = first->t1_source;
    }
}
