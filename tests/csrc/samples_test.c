/* samples_test.c: the table of samples by itself: departure stamps that a live kernel does not
 * give. Prints each claim that does not hold; exits 0 when all do. */
#include "claim.h"
#include "sender/samples.h"
#include "kernel/clock.h"
#include "packet/octets.h"

#include <string.h>

#define PACKETS  8
#define T1_NS    1700000000000000000ULL
#define SPACE    1000000ULL                   /* ns between packets */
#define AHEAD_NS (37 * (uint64_t)TW_NS_PER_S) /* of the device's clock */

static struct tw_sample rows[PACKETS];
static uint64_t written_t1[PACKETS];

static struct tw_samples fresh(void)
{
    memset(rows, 0, sizeof rows);
    return (struct tw_samples){.rows = rows,
                               .written_t1 = written_t1,
                               .size = PACKETS,
                               .layout = tw_layout(TW_LAYOUT_UNAUTHENTICATED),
                               .ids.doubtful_from = UINT32_MAX};
}

/* The packets from the next one up to sequence number end; error is that of each send. */
static void attempt(struct tw_samples *samples, uint32_t end, int error)
{
    while (samples->attempted < end) {
        uint64_t t1_ns = T1_NS + samples->attempted * SPACE;
        tw_samples_prepare(samples, t1_ns, 0, 1);
        tw_samples_attempted(samples, error, t1_ns);
    }
}

/* The stamps of the packet with that id are read a little later. */
static void left_by_kernel(struct tw_samples *samples, uint32_t id, uint64_t unix_ns)
{
    const struct tw_departure departure = {.stamps.kernel_ns = unix_ns, .id = id};

    tw_samples_departure(samples, &departure, unix_ns + SPACE);
}

static void left_by_device(struct tw_samples *samples, uint32_t id, uint64_t device_ns)
{
    const struct tw_departure departure = {.stamps.hardware_ns = device_ns, .id = id};

    tw_samples_departure(samples, &departure, T1_NS + PACKETS * SPACE);
}

static int left_at(uint32_t sequence, uint64_t unix_ns)
{
    return rows[sequence].t1_source == TW_SOURCE_KERNEL &&
           rows[sequence].t1 == tw_clock_ntp(unix_ns);
}

static void stamps_find_their_packets(void)
{
    struct tw_samples samples = fresh();

    attempt(&samples, 4, 0);
    CLAIM(samples.ids.awaited == 4);
    left_by_kernel(&samples, 2, T1_NS + 2 * SPACE + 5);
    left_by_kernel(&samples, 0, T1_NS + 7);
    CLAIM(left_at(2, T1_NS + 2 * SPACE + 5));
    CLAIM(left_at(0, T1_NS + 7));
    CLAIM(rows[1].t1_source == TW_SOURCE_USER && rows[3].t1_source == TW_SOURCE_USER);
    CLAIM(samples.ids.awaited == 2);
    CLAIM(samples.stats.refused_stamps == 0);
}

static void stamps_that_cannot_be_are_refused(void)
{
    struct tw_samples samples = fresh();

    attempt(&samples, 4, 0);
    left_by_kernel(&samples, 0, T1_NS - 2000);                /* before the clock was read */
    left_by_kernel(&samples, 1, T1_NS + 11ULL * TW_NS_PER_S); /* long after */
    left_by_kernel(&samples, 4, T1_NS);                       /* no such packet yet */
    left_by_kernel(&samples, UINT32_MAX, T1_NS);
    CLAIM(samples.stats.refused_stamps == 4);
    CLAIM(rows[0].t1 == tw_clock_ntp(T1_NS) && rows[0].t1_source == TW_SOURCE_USER);
    CLAIM(rows[1].t1_source == TW_SOURCE_USER);
    left_by_kernel(&samples, 3, T1_NS + 3 * SPACE);
    left_by_kernel(&samples, 3, T1_NS + 3 * SPACE + 9); /* the first one counts */
    CLAIM(left_at(3, T1_NS + 3 * SPACE));
    CLAIM(samples.stats.refused_stamps == 5);
    CLAIM(samples.ids.awaited == 0);
}

static void a_refused_send_puts_later_ids_in_doubt(void)
{
    struct tw_samples samples = fresh();

    attempt(&samples, 2, 0);
    attempt(&samples, 3, 105);
    attempt(&samples, 5, 0);
    CLAIM(samples.ids.doubtful_from == 2);
    CLAIM(samples.ids.doubtful_since_ns == T1_NS + 2 * SPACE);
    CLAIM(samples.ids.awaited == 4);
    left_by_kernel(&samples, 1, T1_NS + SPACE);
    left_by_kernel(&samples, 3, T1_NS + 4 * SPACE); /* of packet 3 or 4: nobody knows */
    CLAIM(left_at(1, T1_NS + SPACE));
    CLAIM(rows[3].t1_source == TW_SOURCE_USER && rows[4].t1_source == TW_SOURCE_USER);
    CLAIM(rows[2].t1_source == TW_SOURCE_NONE);
    CLAIM(samples.stats.sent == 4 && samples.stats.send_errors == 1);
    CLAIM(samples.stats.send_errno == 105);
    CLAIM(samples.stats.refused_stamps == 1);

    tw_samples_renumber(&samples);
    CLAIM(samples.ids.awaited == 0);
    attempt(&samples, 7, 0);
    left_by_kernel(&samples, 1, T1_NS + 6 * SPACE);
    CLAIM(left_at(6, T1_NS + 6 * SPACE));
    CLAIM(rows[5].t1_source == TW_SOURCE_USER);
}

/* A reply to the packet of that sequence number, as attempt() sent it. */
static struct tw_reflector_packet honest(uint32_t sequence)
{
    return (struct tw_reflector_packet){
        .error_estimate = tw_put16(1),
        .sender_sequence_number = tw_put32(sequence),
        .sender_timestamp = tw_put64(tw_clock_ntp(T1_NS + sequence * SPACE)),
        .sender_error_estimate = tw_put16(1),
    };
}

/* It comes from the peer that fresh() expects. */
static void reply_with(struct tw_samples *samples, const struct tw_reflector_packet *packet)
{
    const struct tw_arrived arrived = {.packet = (const uint8_t *)packet, .length = sizeof *packet};

    tw_samples_arrival(samples, &arrived);
}

static void reply_to(struct tw_samples *samples, uint32_t sequence)
{
    struct tw_reflector_packet packet = honest(sequence);

    reply_with(samples, &packet);
}

static void a_refused_packet_has_no_reply(void)
{
    struct tw_samples samples = fresh();

    attempt(&samples, 1, 105);
    reply_to(&samples, 0);
    CLAIM(samples.stats.drops[TW_SENDER_DROP_SEQUENCE] == 1);
    CLAIM(rows[0].rank == 0);
}

static void what_does_not_echo_the_packet_as_sent_is_dropped(void)
{
    struct tw_samples samples = fresh();
    struct tw_reflector_packet forged = honest(1);

    attempt(&samples, 2, 0);
    left_by_kernel(&samples, 1, T1_NS + SPACE + 3); /* the packet carries the older T1 */
    forged.sender_timestamp = tw_put64(rows[1].t1);
    reply_with(&samples, &forged);
    forged = honest(1);
    forged.sender_error_estimate = tw_put16(2);
    reply_with(&samples, &forged);
    CLAIM(samples.stats.drops[TW_SENDER_DROP_ECHO] == 2);
    CLAIM(rows[1].rank == 0);
    reply_to(&samples, 1);
    CLAIM(rows[1].rank == 1);
}

static void duplicates_get_the_departure_that_comes_after_them(void)
{
    struct tw_sample duplicates[1];
    struct tw_samples samples = fresh();

    samples.duplicates = duplicates;
    samples.duplicates_size = 1;
    attempt(&samples, 2, 0);
    reply_to(&samples, 1);
    reply_to(&samples, 1);
    left_by_kernel(&samples, 1, T1_NS + SPACE + 3);
    tw_samples_finish(&samples);
    CLAIM(samples.stats.duplicates == 1 && duplicates[0].rank == 2);
    CLAIM(duplicates[0].t1 == tw_clock_ntp(T1_NS + SPACE + 3));
    CLAIM(duplicates[0].t1_source == TW_SOURCE_KERNEL);
}

static void without_a_stamp_that_is_believed_the_clock_serves(void)
{
    struct tw_samples samples = fresh();
    struct tw_reflector_packet packet = honest(0);
    struct tw_arrived arrived = {
        .packet = (const uint8_t *)&packet,
        .length = sizeof packet,
        .rx.stamps.kernel_ns = T1_NS + 5,
        .now_ns = T1_NS + 4,
    };

    attempt(&samples, 1, 0);
    tw_samples_arrival(&samples, &arrived);
    CLAIM(rows[0].t4 == tw_clock_ntp(T1_NS + 4) && rows[0].t4_source == TW_SOURCE_USER);
    CLAIM(samples.stats.refused_stamps == 1);
}

/* A ring of PACKETS rows; packet i went at i * SPACE. */
static struct tw_samples ring(uint64_t *departed_ns)
{
    struct tw_samples samples = fresh();

    samples.departed_ns = departed_ns;
    return samples;
}

static void attempt_in_ring(struct tw_samples *samples, uint32_t end)
{
    while (samples->attempted < end) {
        uint64_t sequence = samples->attempted;
        tw_samples_prepare(samples, T1_NS + sequence * SPACE, 0, 1);
        tw_samples_attempted(samples, 0, sequence * SPACE);
    }
}

static void rows_settle_when_their_time_is_over(void)
{
    uint64_t departed_ns[PACKETS];
    struct tw_samples samples = ring(departed_ns);

    attempt_in_ring(&samples, 5);
    tw_samples_settle(&samples, 9 * SPACE, 10 * SPACE);
    CLAIM(samples.settled == 0);
    tw_samples_settle(&samples, 12 * SPACE, 10 * SPACE);
    CLAIM(samples.settled == 3);
    tw_samples_settle(&samples, 99 * SPACE, 10 * SPACE);
    CLAIM(samples.settled == 5);
}

static void a_late_reply_is_dropped_and_written_nowhere(void)
{
    uint64_t departed_ns[PACKETS];
    struct tw_samples samples = ring(departed_ns);

    attempt_in_ring(&samples, PACKETS);
    reply_to(&samples, 1);
    tw_samples_settle(&samples, 4 * SPACE, SPACE); /* 0 to 3 */
    attempt_in_ring(&samples, PACKETS + 2);        /* the rows of 0 and 1 again */
    struct tw_sample newer[2] = {rows[0], rows[1]};
    CLAIM(rows[1].sequence_number == PACKETS + 1 && rows[1].rank == 0 && rows[1].t4 == 0);
    reply_to(&samples, 0);
    reply_to(&samples, 1);
    reply_to(&samples, 3);
    left_by_kernel(&samples, 0, T1_NS + 1);
    left_by_kernel(&samples, 3, T1_NS + 3 * SPACE + 1);
    CLAIM(samples.stats.drops[TW_SENDER_DROP_LATE] == 3);
    CLAIM(samples.stats.refused_stamps == 3); /* reply 1 had no stamp either */
    CLAIM(!memcmp(newer, rows, sizeof newer));
    CLAIM(rows[3].rank == 0 && rows[3].t1_source == TW_SOURCE_USER);
    reply_to(&samples, PACKETS + 1);
    left_by_kernel(&samples, PACKETS + 1, T1_NS + (PACKETS + 1) * SPACE + 2);
    CLAIM(rows[1].rank == 2);
    CLAIM(left_at(1, T1_NS + (PACKETS + 1) * SPACE + 2));
}

static void duplicates_wait_until_their_rows_are_taken(void)
{
    uint64_t departed_ns[PACKETS];
    struct tw_sample duplicates[2];
    struct tw_samples samples = ring(departed_ns);

    samples.duplicates = duplicates;
    samples.duplicates_size = 2;
    attempt_in_ring(&samples, 2);
    for (int i = 0; i < 4; i++)
        reply_to(&samples, 0);
    CLAIM(samples.stats.duplicates == 2 && samples.duplicates_written == 2);
    CLAIM(samples.stats.drops[TW_SENDER_DROP_NO_ROOM] == 1);
    samples.duplicates_taken = 1;
    reply_to(&samples, 0);
    CLAIM(samples.duplicates_written == 3 && duplicates[0].rank == 4 && duplicates[1].rank == 3);
    tw_samples_finish(&samples);
    CLAIM(samples.settled == 2);
}

static void the_rank_of_no_reply_is_skipped(void)
{
    struct tw_samples samples = fresh();

    samples.rank = UINT32_MAX - 1;
    attempt(&samples, 2, 0);
    reply_to(&samples, 0);
    reply_to(&samples, 1);
    CLAIM(rows[0].rank == UINT32_MAX && rows[1].rank == 1);
}

static void know_the_clock(struct tw_samples *samples)
{
    samples->models.each[0] = (struct tw_clock_model){
        .device_ns = T1_NS + AHEAD_NS, .unix_ns = T1_NS, .error_ns = 500, .interface = 9};
    samples->models.count = 1;
}

static void the_devices_departure_is_better_than_the_kernels(void)
{
    struct tw_samples samples = fresh();

    attempt(&samples, 4, 0);
    know_the_clock(&samples);
    left_by_kernel(&samples, 0, T1_NS + 900);
    left_by_device(&samples, 0, T1_NS + 4000 + AHEAD_NS);
    CLAIM(rows[0].t1 == tw_clock_ntp(T1_NS + 4000));
    CLAIM(rows[0].t1_source == TW_SOURCE_HARDWARE);
    CLAIM(samples.ids.awaited == 3);
    /* The other way around, as a device that waits for nobody may have it. */
    left_by_device(&samples, 1, T1_NS + SPACE + 4000 + AHEAD_NS);
    left_by_kernel(&samples, 1, T1_NS + SPACE + 900);
    CLAIM(rows[1].t1 == tw_clock_ntp(T1_NS + SPACE + 4000));
    CLAIM(samples.stats.refused_stamps == 1);
    /* A little earlier than the kernel's may be, much earlier cannot. */
    left_by_kernel(&samples, 2, T1_NS + 2 * SPACE + 60000);
    left_by_device(&samples, 2, T1_NS + 2 * SPACE + 40000 + AHEAD_NS);
    CLAIM(rows[2].t1_source == TW_SOURCE_HARDWARE);
    left_by_device(&samples, 3, T1_NS + 3 * SPACE - 200000 + AHEAD_NS);
    left_by_device(&samples, 3, T1_NS); /* of an unknown clock */
    CLAIM(rows[3].t1_source == TW_SOURCE_USER);
    CLAIM(samples.stats.refused_stamps == 3);
}

static void the_device_saw_a_reply_first(uint64_t hardware_ns, enum tw_source source,
                                         uint64_t t4_ns, uint64_t refused)
{
    struct tw_samples samples = fresh();
    const struct tw_reflector_packet packet = honest(0);
    const struct tw_arrived arrived = {
        .packet = (const uint8_t *)&packet,
        .length = sizeof packet,
        .now_ns = T1_NS + 90000,
        .rx.stamps = {.kernel_ns = T1_NS + 80000, .hardware_ns = hardware_ns, .device = 9},
    };

    attempt(&samples, 1, 0);
    know_the_clock(&samples);
    tw_samples_arrival(&samples, &arrived);
    CLAIM(rows[0].rank == 1);
    CLAIM(rows[0].t4 == tw_clock_ntp(t4_ns));
    CLAIM(rows[0].t4_source == source);
    CLAIM(samples.stats.refused_stamps == refused);
}

int main(void)
{
    the_devices_departure_is_better_than_the_kernels();
    the_device_saw_a_reply_first(T1_NS + AHEAD_NS + 70000, TW_SOURCE_HARDWARE, T1_NS + 70000, 0);
    the_device_saw_a_reply_first(T1_NS + 70000, TW_SOURCE_KERNEL, T1_NS + 80000, 1);
    the_device_saw_a_reply_first(0, TW_SOURCE_KERNEL, T1_NS + 80000, 0);
    stamps_find_their_packets();
    stamps_that_cannot_be_are_refused();
    a_refused_send_puts_later_ids_in_doubt();
    a_refused_packet_has_no_reply();
    what_does_not_echo_the_packet_as_sent_is_dropped();
    duplicates_get_the_departure_that_comes_after_them();
    without_a_stamp_that_is_believed_the_clock_serves();
    rows_settle_when_their_time_is_over();
    a_late_reply_is_dropped_and_written_nowhere();
    duplicates_wait_until_their_rows_are_taken();
    the_rank_of_no_reply_is_skipped();
    return failures != 0;
}
