/* samples.c: the table of samples: what each send, departure stamp and arriving datagram writes
 * into it. Memory only: no system calls, nothing allocated; any octets of a reply are harmless.
 * Always: received == rows with a rank + duplicates + the sum of drops. */
#include "sender/samples.h"
#include "kernel/clock.h"
#include "packet/octets.h"

#include <string.h>

#define NTP_SECOND           ((int64_t)1 << 32)
#define NTP_MICROSECOND      (NTP_SECOND / 1000000)
#define NTP_UNIX_EPOCH       2208988800ULL /* seconds from 1900 to 1970 */
#define ERROR_ESTIMATE_Z     0x4000        /* PTPv2 truncated format (RFC 8186 section 2.3) */
#define DRIVER_US            100
#define DEPARTURE_LATEST_AGE (10 * NTP_SECOND)

void tw_samples_prepare(struct tw_samples *samples, uint64_t unix_ns, int32_t lateness_ns,
                        uint16_t error_estimate, struct tw_sender_packet *packet)
{
    struct tw_sample *row = &samples->rows[tw_samples_row(samples, samples->attempted)];

    /* In a ring another packet's sample may still stand there. */
    *row = (struct tw_sample){
        .t1 = tw_clock_ntp(unix_ns),
        .sequence_number = samples->attempted,
        .lateness_ns = lateness_ns,
        .sender_error_estimate = error_estimate,
    };
    packet->sequence_number = tw_put32(samples->attempted);
    packet->timestamp = tw_put64(row->t1);
    packet->error_estimate = tw_put16(error_estimate);
}

void tw_samples_attempted(struct tw_samples *samples, int error, uint64_t monotonic_ns)
{
    struct tw_send_ids *ids = &samples->ids;
    uint32_t sequence = samples->attempted++;
    uint32_t row = tw_samples_row(samples, sequence);

    if (samples->departed_ns)
        samples->departed_ns[row] = monotonic_ns;
    if (!error) {
        samples->rows[row].t1_source = TW_SOURCE_USER;
        samples->stats.sent++;
        ids->awaited++;
        return;
    }
    samples->stats.send_errors++;
    samples->stats.send_errno = error;
    if (ids->doubtful_from == UINT32_MAX) {
        ids->doubtful_from = sequence;
        ids->doubtful_since_ns = monotonic_ns;
    }
}

void tw_samples_renumber(struct tw_samples *samples)
{
    samples->ids = (struct tw_send_ids){
        .first = samples->attempted,
        .doubtful_from = UINT32_MAX,
    };
}

/* How much earlier than what is known a departure may be.  A driver may take the kernel's stamp
 * after it has handed the packet to its device. */
static int64_t latitude(const struct tw_samples *samples, enum tw_source source)
{
    const uint64_t model_us = tw_device_clock_error_ns(&samples->models) / 1000;

    return source == TW_SOURCE_KERNEL ? NTP_MICROSECOND
                                      : (DRIVER_US + (int64_t)model_us) * NTP_MICROSECOND;
}

static int is_departure(const struct tw_samples *samples, const struct tw_sample *row, uint64_t t1,
                        enum tw_source source)
{
    const int64_t age = (int64_t)(t1 - row->t1);

    return row->t1_source != TW_SOURCE_NONE && row->t1_source < source &&
           age >= -latitude(samples, source) && age <= DEPARTURE_LATEST_AGE;
}

void tw_samples_departure(struct tw_samples *samples, uint32_t id, uint64_t unix_ns,
                          enum tw_source source)
{
    struct tw_send_ids *ids = &samples->ids;
    uint64_t sequence = (uint64_t)ids->first + id;
    uint64_t t1 = tw_clock_ntp(unix_ns);

    if (ids->awaited && source == TW_SOURCE_KERNEL)
        ids->awaited--;
    if (sequence >= samples->settled && sequence < samples->attempted &&
        sequence < ids->doubtful_from) {
        struct tw_sample *row = &samples->rows[tw_samples_row(samples, (uint32_t)sequence)];

        if (is_departure(samples, row, t1, source)) {
            row->t1 = t1;
            row->t1_source = (uint8_t)source;
            return;
        }
    }
    samples->stats.refused_stamps++;
}

/* A timestamp of the peer as NTP.  Nanoseconds beyond a second, which only a broken peer sends,
 * carry into the seconds: any octets give some time. */
static uint64_t peer_ntp(uint64_t timestamp, uint16_t error_estimate)
{
    if (!(error_estimate & ERROR_ESTIMATE_Z))
        return timestamp;
    uint64_t seconds = (timestamp >> 32) + NTP_UNIX_EPOCH;
    return (seconds << 32) + ((timestamp & UINT32_MAX) << 32) / TW_NS_PER_S;
}

static int is_peer(const struct tw_endpoint *peer, const struct tw_endpoint *source)
{
    return source->port == peer->port && source->ip_version == peer->ip_version &&
           !memcmp(source->address, peer->address, peer->ip_version == 4 ? 4 : 16);
}

/* The head of a reply, as the unauthenticated layout has it: 0, or enum tw_sender_drop. */
static int read_head(const struct tw_samples *samples, const struct tw_arrived *arrived,
                     struct tw_reflector_packet *packet)
{
    struct tw_secured_reflector_packet secured;

    if (samples->cipher == NULL) {
        if (arrived->length < sizeof *packet)
            return TW_SENDER_DROP_SHORT;
        memcpy(packet, arrived->packet, sizeof *packet);
        return 0;
    }
    if (arrived->length < sizeof secured)
        return TW_SENDER_DROP_SHORT;
    memcpy(&secured, arrived->packet, sizeof secured);
    if (!tw_cipher_unseal_reply(samples->cipher, (uint8_t *)&secured))
        return TW_SENDER_DROP_HMAC;
    *packet = (struct tw_reflector_packet){
        .sequence_number = secured.sequence_number,
        .timestamp = secured.timestamp,
        .error_estimate = secured.error_estimate,
        .receive_timestamp = secured.receive_timestamp,
        .sender_sequence_number = secured.sender_sequence_number,
        .sender_timestamp = secured.sender_timestamp,
        .sender_error_estimate = secured.sender_error_estimate,
        .sender_ttl = secured.sender_ttl,
    };
    return 0;
}

static uint64_t taken(const struct tw_samples *samples)
{
    return __atomic_load_n(&samples->duplicates_taken, __ATOMIC_ACQUIRE);
}

/* RFC 5357 section 4.2.1 on the layout, RFC 4656 section 4.1.2 on the Multiplier; 0 or enum
 * tw_sender_drop. */
static int judge(const struct tw_samples *samples, const struct tw_arrived *arrived,
                 struct tw_reflector_packet *packet)
{
    if (!is_peer(&samples->peer, &arrived->source))
        return TW_SENDER_DROP_FOREIGN;
    if (arrived->length > TW_PACKET_MAX)
        return TW_SENDER_DROP_LONG;
    int drop = read_head(samples, arrived, packet);
    if (drop)
        return drop;
    if (!packet->error_estimate.octets[1])
        return TW_SENDER_DROP_ERROR_ESTIMATE;
    uint32_t sequence = tw_get32(packet->sender_sequence_number);
    if (sequence >= samples->attempted)
        return TW_SENDER_DROP_SEQUENCE;
    if (sequence < samples->settled)
        return TW_SENDER_DROP_LATE;
    const struct tw_sample *row = &samples->rows[tw_samples_row(samples, sequence)];
    if (row->t1_source == TW_SOURCE_NONE)
        return TW_SENDER_DROP_SEQUENCE;
    if (row->rank && samples->stats.duplicates - taken(samples) >= samples->duplicates_size)
        return TW_SENDER_DROP_NO_ROOM;
    return 0;
}

/* T4, of the best source that there is. */
static void date(struct tw_samples *samples, struct tw_sample *row,
                 const struct tw_arrived *arrived)
{
    const struct tw_rx *rx = &arrived->rx;
    const int believed = tw_clock_believes(rx->kernel_ns, arrived->now_ns);
    const uint64_t read_ns = believed ? rx->kernel_ns : arrived->now_ns;
    uint64_t device_ns = 0;

    if (rx->hardware_ns != 0)
        device_ns = tw_device_clock_unix_ns(&samples->models, rx->device, rx->hardware_ns, read_ns);
    samples->stats.refused_stamps += !believed;
    samples->stats.refused_stamps += rx->hardware_ns != 0 && device_ns == 0;
    row->t4 = tw_clock_ntp(device_ns != 0 ? device_ns : read_ns);
    row->t4_source = device_ns != 0 ? TW_SOURCE_HARDWARE
                     : believed     ? TW_SOURCE_KERNEL
                                    : TW_SOURCE_USER;
}

static void fill_arrival(struct tw_samples *samples, struct tw_sample *row,
                         const struct tw_arrived *arrived, const struct tw_reflector_packet *packet)
{
    uint16_t error_estimate = tw_get16(packet->error_estimate);

    row->t2 = peer_ntp(tw_get64(packet->receive_timestamp), error_estimate);
    row->t3 = peer_ntp(tw_get64(packet->timestamp), error_estimate);
    date(samples, row, arrived);
    row->reflector_sequence_number = tw_get32(packet->sequence_number);
    row->reflector_error_estimate = error_estimate;
    samples->rank += samples->rank == UINT32_MAX ? 2 : 1; /* 0 would be no reply */
    row->rank = samples->rank;
    row->sender_ttl = packet->sender_ttl;
    row->ttl = arrived->rx.ttl;
    row->tos = arrived->rx.tos;
}

void tw_samples_arrival(struct tw_samples *samples, const struct tw_arrived *arrived)
{
    struct tw_reflector_packet packet = {0};
    int drop = judge(samples, arrived, &packet);

    samples->stats.received++;
    samples->stats.truncated_control += arrived->rx.truncated != 0;
    if (drop) {
        samples->stats.drops[drop]++;
        return;
    }
    uint32_t sequence = tw_get32(packet.sender_sequence_number);
    struct tw_sample *first = &samples->rows[tw_samples_row(samples, sequence)];
    if (!first->rank) {
        fill_arrival(samples, first, arrived, &packet);
        return;
    }
    struct tw_sample *copy =
        &samples->duplicates[samples->stats.duplicates % samples->duplicates_size];
    *copy = *first;
    fill_arrival(samples, copy, arrived, &packet);
    samples->stats.duplicates++;
    __atomic_store_n(&samples->duplicates_written, samples->stats.duplicates, __ATOMIC_RELEASE);
}

static void settle_until(struct tw_samples *samples, uint32_t sequence)
{
    __atomic_store_n(&samples->settled, sequence, __ATOMIC_RELEASE);
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
    if (samples->departed_ns) /* duplicates may be in other hands already */
        return;
    for (uint64_t i = 0; i < samples->stats.duplicates; i++) {
        struct tw_sample *row = &samples->duplicates[i];
        const struct tw_sample *first = &samples->rows[row->sequence_number];

        row->t1 = first->t1;
        row->t1_source = first->t1_source;
    }
}
