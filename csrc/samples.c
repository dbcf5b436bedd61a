/* samples.c: the table of samples: what each send, departure stamp and arriving datagram writes
 * into it. Memory only: no system calls, nothing allocated; any octets of a reply are harmless.
 * Always: received == rows with a rank + duplicates + the sum of drops. */
#include "samples.h"

#include <string.h>

#define NTP_SECOND           ((int64_t)1 << 32)
#define NTP_MICROSECOND      (NTP_SECOND / 1000000)
#define NTP_UNIX_EPOCH       2208988800ULL /* seconds from 1900 to 1970 */
#define ERROR_ESTIMATE_Z     0x4000        /* PTPv2 truncated format (RFC 8186 section 2.3) */
#define DEPARTURE_LATEST_AGE (10 * NTP_SECOND)

void tw_samples_prepare(struct tw_samples *samples, uint64_t unix_ns, int32_t lateness_ns,
                        uint16_t error_estimate, struct tw_sender_packet *packet)
{
    struct tw_sample *row = &samples->rows[samples->attempted];

    row->t1 = tw_clock_ntp(unix_ns);
    row->sequence_number = samples->attempted;
    row->lateness_ns = lateness_ns;
    row->sender_error_estimate = error_estimate;
    packet->sequence_number = tw_put32(samples->attempted);
    packet->timestamp = tw_put64(row->t1);
    packet->error_estimate = tw_put16(error_estimate);
}

void tw_samples_attempted(struct tw_samples *samples, int error, uint64_t monotonic_ns)
{
    struct tw_departures *departures = &samples->departures;
    uint32_t sequence = samples->attempted++;

    if (!error) {
        samples->rows[sequence].t1_source = TW_SOURCE_USER;
        samples->stats.sent++;
        departures->awaited++;
        return;
    }
    samples->stats.send_errors++;
    samples->stats.send_errno = error;
    if (departures->doubtful_from == UINT32_MAX) {
        departures->doubtful_from = sequence;
        departures->doubtful_since_ns = monotonic_ns;
    }
}

void tw_samples_renumber(struct tw_samples *samples)
{
    samples->departures = (struct tw_departures){
        .first = samples->attempted,
        .doubtful_from = UINT32_MAX,
    };
}

void tw_samples_departure(struct tw_samples *samples, uint32_t id, uint64_t unix_ns)
{
    struct tw_departures *departures = &samples->departures;
    uint64_t sequence = (uint64_t)departures->first + id;
    uint64_t t1 = tw_clock_ntp(unix_ns);

    if (departures->awaited)
        departures->awaited--;
    if (sequence < samples->attempted && sequence < departures->doubtful_from) {
        struct tw_sample *row = &samples->rows[sequence];
        int64_t age = (int64_t)(t1 - row->t1);

        if (row->t1_source == TW_SOURCE_USER && age >= -NTP_MICROSECOND &&
            age <= DEPARTURE_LATEST_AGE) {
            row->t1 = t1;
            row->t1_source = TW_SOURCE_KERNEL;
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
static int read_head(const struct tw_samples *samples, const struct tw_reply *reply,
                     struct tw_reflector_packet *packet)
{
    struct tw_secured_reflector_packet secured;

    if (samples->cipher == NULL) {
        if (reply->length < sizeof *packet)
            return TW_SENDER_DROP_SHORT;
        memcpy(packet, reply->packet, sizeof *packet);
        return 0;
    }
    if (reply->length < sizeof secured)
        return TW_SENDER_DROP_SHORT;
    memcpy(&secured, reply->packet, sizeof secured);
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

/* RFC 5357 section 4.2.1 on the layout, RFC 4656 section 4.1.2 on the Multiplier; 0 or enum
 * tw_sender_drop. */
static int judge(const struct tw_samples *samples, const struct tw_reply *reply,
                 struct tw_reflector_packet *packet)
{
    if (!is_peer(&samples->peer, &reply->source))
        return TW_SENDER_DROP_FOREIGN;
    if (reply->length > TW_PACKET_MAX)
        return TW_SENDER_DROP_LONG;
    int drop = read_head(samples, reply, packet);
    if (drop)
        return drop;
    if (!packet->error_estimate.octets[1])
        return TW_SENDER_DROP_ERROR_ESTIMATE;
    uint32_t sequence = tw_get32(packet->sender_sequence_number);
    if (sequence >= samples->attempted || samples->rows[sequence].t1_source == TW_SOURCE_NONE)
        return TW_SENDER_DROP_SEQUENCE;
    if (samples->rows[sequence].rank && samples->stats.duplicates >= samples->duplicates_size)
        return TW_SENDER_DROP_NO_ROOM;
    return 0;
}

static void fill_arrival(struct tw_samples *samples, struct tw_sample *row,
                         const struct tw_reply *reply, const struct tw_reflector_packet *packet)
{
    uint16_t error_estimate = tw_get16(packet->error_estimate);
    int believed = tw_clock_believes(reply->rx.kernel_ns, reply->now_ns);

    samples->stats.refused_stamps += !believed;
    row->t2 = peer_ntp(tw_get64(packet->receive_timestamp), error_estimate);
    row->t3 = peer_ntp(tw_get64(packet->timestamp), error_estimate);
    row->t4 = tw_clock_ntp(believed ? reply->rx.kernel_ns : reply->now_ns);
    row->t4_source = believed ? TW_SOURCE_KERNEL : TW_SOURCE_USER;
    row->reflector_sequence_number = tw_get32(packet->sequence_number);
    row->reflector_error_estimate = error_estimate;
    row->rank = ++samples->rank;
    row->sender_ttl = packet->sender_ttl;
    row->ttl = reply->rx.ttl;
    row->tos = reply->rx.tos;
}

void tw_samples_arrival(struct tw_samples *samples, const struct tw_reply *reply)
{
    struct tw_reflector_packet packet = {0};
    int drop = judge(samples, reply, &packet);

    samples->stats.received++;
    samples->stats.truncated_control += reply->rx.truncated != 0;
    if (drop) {
        samples->stats.drops[drop]++;
        return;
    }
    struct tw_sample *row = &samples->rows[tw_get32(packet.sender_sequence_number)];
    if (row->rank) {
        struct tw_sample *first = row;
        row = &samples->duplicates[samples->stats.duplicates++];
        *row = *first;
    }
    fill_arrival(samples, row, reply, &packet);
}

void tw_samples_finish(struct tw_samples *samples)
{
    for (uint32_t i = 0; i < samples->stats.duplicates; i++) {
        struct tw_sample *row = &samples->duplicates[i];
        const struct tw_sample *first = &samples->rows[row->sequence_number];

        row->t1 = first->t1;
        row->t1_source = first->t1_source;
    }
}
