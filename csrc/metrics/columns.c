/* columns.c: twamp/metrics/columns.py's columns_of in C, value for value (tests/engine/
 * test_sample_table.py compares them).  Memory only: no system calls, nothing allocated. */
#include "api/columns.h"
#include "metrics/sort.h"

#include <errno.h>

#define NS_PER_S     1000000000
#define INDEX_BITS   32 /* of a key: below what it is sorted by stands the index of its sample */
#define UPPER_BITS   (~(uint64_t)UINT32_MAX)
#define SYNCHRONIZED 0x8000 /* of an Error Estimate (RFC 4656 section 4.1.2) */

enum way { ROUND_TRIP, SEND, REFLECT, WAYS };

struct delays {
    int64_t ns[WAYS];
    int64_t processing;
};

/* To the nearest; units are 2^-32 s, of which a sum of two differences has 65 bits. */
static int64_t ns_of(__int128 units)
{
    return (int64_t)((units * NS_PER_S + ((int64_t)1 << 31)) >> 32);
}

/* Right while the timestamps are within 68 years of each other, also across an era. */
static int64_t difference(uint64_t later, uint64_t earlier)
{
    return (int64_t)(later - earlier);
}

static struct delays delays_of(const struct tw_sample *sample)
{
    const int64_t processing = difference(sample->t3, sample->t2);
    const __int128 both_ways = (__int128)difference(sample->t4, sample->t1) - processing;

    return (struct delays){
        .ns = {ns_of(both_ways), ns_of(difference(sample->t2, sample->t1)),
               ns_of(difference(sample->t4, sample->t3))},
        .processing = ns_of(processing),
    };
}

static int is_answered(const struct tw_sample *sample)
{
    return sample->t1_source != TW_SOURCE_NONE && sample->rank != 0;
}

/* A reply came, and within the loss timeout. */
static int is_received(const struct tw_table *table, const struct tw_sample *sample)
{
    return is_answered(sample) &&
           ns_of(difference(sample->t4, sample->t1)) <= table->loss_timeout_ns;
}

/* The reflector wrote both of its timestamps: without them there are no delays. */
static int is_stamped(const struct tw_sample *sample)
{
    return sample->t2 != 0 && sample->t3 != 0;
}

/* ---- one packet after the other ----------------------------------------------------------------
 */

static void append(struct tw_columns *columns, enum tw_column_name name, int64_t value)
{
    struct tw_column *column = &columns->columns[name];

    column->values[column->count++] = value;
}

/* The error of an Error Estimate in ns, rounded up. */
static __int128 error_ns(uint16_t estimate)
{
    const __int128 units = (__int128)(estimate & 0xff) << (estimate >> 8 & 0x3f);

    return -(-units * NS_PER_S >> 32);
}

static void note_errors(struct tw_columns *columns, uint16_t sender, uint16_t reflector)
{
    const __int128 sum = error_ns(sender) + error_ns(reflector);

    columns->sender_unsynchronized |= !(sender & SYNCHRONIZED);
    columns->reflector_unsynchronized |= !(reflector & SYNCHRONIZED);
    if (error_ns(sender) > error_ns(columns->sender_error))
        columns->sender_error = sender;
    if (error_ns(reflector) > error_ns(columns->reflector_error))
        columns->reflector_error = reflector;
    if (sum > error_ns(columns->sum_error[0]) + error_ns(columns->sum_error[1])) {
        columns->sum_error[0] = sender;
        columns->sum_error[1] = reflector;
    }
}

static void add_delays(struct tw_columns *columns, const struct delays *delays)
{
    for (int way = 0; way < WAYS; way++)
        append(columns, TW_COLUMN_ROUND_TRIP + (enum tw_column_name)way, delays->ns[way]);
    append(columns, TW_COLUMN_PROCESSING, delays->processing);
}

static void add_received(struct tw_columns *columns, const struct tw_sample *sample)
{
    columns->unstamped += !is_stamped(sample);
    columns->clock_back += difference(sample->t4, sample->t1) < 0;
    columns->unknown = 0;
    columns->sender_ttls[sample->sender_ttl]++;
    columns->ttls[sample->ttl]++;
    columns->tos[sample->tos]++;
    columns->t4_sources[sample->t4_source]++;
}

static void add_variation(struct tw_columns *columns, const struct delays *before,
                          const struct delays *delays)
{
    for (int way = 0; way < WAYS; way++)
        append(columns, TW_COLUMN_IPDV_ROUND_TRIP + (enum tw_column_name)way,
               delays->ns[way] - before->ns[way]);
}

/* T1 of the ends, by their difference from the first in the table. */
static void find_ends(const struct tw_table *table, struct tw_columns *columns)
{
    int64_t least = 0, most = 0;
    int has_sent = 0;
    uint64_t origin = 0;

    for (uint32_t i = 0; i < table->size; i++) {
        if (table->samples[i].t1_source == TW_SOURCE_NONE)
            continue;
        if (!has_sent)
            origin = table->samples[i].t1;
        has_sent = 1;
        const int64_t after = difference(table->samples[i].t1, origin);

        least = after < least ? after : least;
        most = after > most ? after : most;
    }
    columns->first = origin + (uint64_t)least;
    columns->last = origin + (uint64_t)most;
}

/* Everything but order.  Returns how many sent packets were not answered; unknown are those of
 * them after the last that was. */
static uint64_t add_samples(const struct tw_table *table, struct tw_columns *columns)
{
    struct delays before;
    int has_before = 0;
    uint32_t estimates = 0; /* of the sample before: they seldom change */
    uint64_t silent = 0;

    for (uint32_t i = 0; i < table->size; i++) {
        const struct tw_sample *sample = &table->samples[i];

        if (sample->t1_source == TW_SOURCE_NONE)
            continue;
        append(columns, TW_COLUMN_LATENESS, sample->lateness_ns);
        columns->t1_sources[sample->t1_source]++;
        if (!is_received(table, sample)) {
            has_before = 0;
            columns->late += sample->rank != 0;
            silent += sample->rank == 0;
            columns->unknown = sample->rank == 0 ? columns->unknown + 1 : 0;
            continue;
        }
        add_received(columns, sample);
        if (!is_stamped(sample)) {
            has_before = 0;
            continue;
        }
        const struct delays delays = delays_of(sample);
        const uint32_t both =
            (uint32_t)sample->sender_error_estimate << 16 | sample->reflector_error_estimate;

        if (both != estimates || columns->columns[TW_COLUMN_ROUND_TRIP].count == 0)
            note_errors(columns, sample->sender_error_estimate, sample->reflector_error_estimate);
        estimates = both;
        add_delays(columns, &delays);
        if (has_before)
            add_variation(columns, &before, &delays);
        before = delays;
        has_before = 1;
    }
    return silent;
}

/* ---- order -------------------------------------------------------------------------------------
 */

/* Counts what comes after something sent later (RFC 4737 section 3.3). */
struct order {
    uint64_t expected;
    uint64_t reordered;
};

static void order_add(struct order *order, uint32_t number)
{
    if (number < order->expected)
        order->reordered++;
    else
        order->expected = (uint64_t)number + 1;
}

/* RTP's, by the integers of RFC 3550 appendix A.8. */
struct jitter {
    __int128 scaled;
    int64_t last;
    int started;
};

static void jitter_add(struct jitter *jitter, int64_t transit)
{
    if (jitter->started) {
        const __int128 moved = (__int128)transit - jitter->last;

        jitter->scaled += (moved < 0 ? -moved : moved) - ((jitter->scaled + 8) >> 4);
    }
    jitter->last = transit;
    jitter->started = 1;
}

static uint64_t jitter_ns(const struct jitter *jitter)
{
    return (uint64_t)(jitter->scaled >> 4);
}

/* Replies in time as they came back. */
static void judge_return(const struct tw_table *table, struct tw_columns *columns)
{
    uint64_t *keys = table->scratch;
    struct order round_trip = {0}, back = {0};
    struct jitter round_trip_jitter = {0}, back_jitter = {0};
    size_t count = 0;

    for (uint32_t i = 0; i < table->size; i++)
        if (is_received(table, &table->samples[i]))
            keys[count++] = (uint64_t)table->samples[i].rank << INDEX_BITS | i;
    tw_sort(keys, keys + table->size, count, UPPER_BITS);
    for (size_t i = 0; i < count; i++) {
        const struct tw_sample *sample = &table->samples[(uint32_t)keys[i]];
        order_add(&round_trip, sample->sequence_number);
        order_add(&back, sample->reflector_sequence_number);
        if (!is_stamped(sample))
            continue;
        const struct delays delays = delays_of(sample);

        jitter_add(&round_trip_jitter, delays.ns[ROUND_TRIP]);
        jitter_add(&back_jitter, delays.ns[REFLECT]);
    }
    columns->reordered[ROUND_TRIP] = round_trip.reordered;
    columns->reordered[REFLECT] = back.reordered;
    columns->jitter[ROUND_TRIP] = jitter_ns(&round_trip_jitter);
    columns->jitter[REFLECT] = jitter_ns(&back_jitter);
}

/* All replies, late ones and further copies, too, by the reflector's numbers.  Indices from size on
 * are duplicates.  Returns how many there are. */
static size_t by_reflector(const struct tw_table *table)
{
    const size_t room = (size_t)table->size + table->duplicates_size;
    uint64_t *keys = table->scratch;
    size_t count = 0;

    for (uint32_t i = 0; i < table->size; i++)
        if (is_answered(&table->samples[i]))
            keys[count++] = (uint64_t)table->samples[i].reflector_sequence_number << INDEX_BITS | i;
    for (uint32_t i = 0; i < table->duplicates_size; i++)
        keys[count++] = (uint64_t)table->duplicates[i].reflector_sequence_number << INDEX_BITS |
                        (table->size + i);
    tw_sort(keys, keys + room, count, UPPER_BITS);
    return count;
}

/* Packets as they came to the reflector.  Returns how many of its numbers are missing. */
static int64_t judge_arrival(const struct tw_table *table, struct tw_columns *columns)
{
    const uint64_t *keys = table->scratch;
    const size_t count = by_reflector(table);
    const int64_t last = count ? (int64_t)(keys[count - 1] >> INDEX_BITS) : -1;
    /* Reordering may have taken all of them from another part of the session. */
    const int64_t open_end = last + 1 > table->numbers_begin ? last + 1 : table->numbers_begin;
    const int64_t end = table->numbers_end >= 0 ? table->numbers_end : open_end;
    struct order there = {0};
    struct jitter jitter = {0};
    int64_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        const uint32_t index = (uint32_t)keys[i];
        const int64_t number = (int64_t)(keys[i] >> INDEX_BITS);

        if ((i == 0 || number != (int64_t)(keys[i - 1] >> INDEX_BITS)) &&
            number >= table->numbers_begin && number < end)
            seen++;
        if (index < table->size && is_received(table, &table->samples[index])) {
            order_add(&there, table->samples[index].sequence_number);
            if (is_stamped(&table->samples[index]))
                jitter_add(&jitter, delays_of(&table->samples[index]).ns[SEND]);
        }
    }
    columns->reordered[SEND] = there.reordered;
    columns->jitter[SEND] = jitter_ns(&jitter);
    return end - table->numbers_begin - seen;
}

/* ---- loss and duplicates -----------------------------------------------------------------------
 */

static void share_losses(const struct tw_table *table, struct tw_columns *columns, uint64_t silent,
                         int64_t missing)
{
    if (table->numbers_end >= 0)
        columns->unknown = 0;
    const int64_t resolved = (int64_t)(silent - columns->unknown);

    columns->reverse = missing < resolved ? missing : resolved;
    columns->forward = resolved - columns->reverse;
}

/* The sample of a packet that was answered, or NULL. */
static const struct tw_sample *find_answered(const struct tw_table *table, uint32_t sequence)
{
    uint32_t begin = 0, end = table->size;

    while (begin < end) {
        const uint32_t middle = begin + (end - begin) / 2;

        if (table->samples[middle].sequence_number < sequence)
            begin = middle + 1;
        else
            end = middle;
    }
    if (begin == table->size || table->samples[begin].sequence_number != sequence ||
        !is_answered(&table->samples[begin]))
        return NULL;
    return &table->samples[begin];
}

/* A further number of the reflector's is a packet doubled on the way there, the same number again
 * a reply doubled on the way back. */
static void count_duplicates(const struct tw_table *table, struct tw_columns *columns)
{
    uint64_t *keys = table->scratch;
    const size_t count = table->duplicates_size;

    for (uint32_t i = 0; i < count; i++)
        keys[i] = (uint64_t)table->duplicates[i].sequence_number << 32 |
                  table->duplicates[i].reflector_sequence_number;
    tw_sort(keys, keys + count, count, UINT64_MAX);
    for (size_t i = 0; i < count; i++) {
        const uint32_t sequence = (uint32_t)(keys[i] >> 32);
        const struct tw_sample *first = find_answered(table, sequence);
        const int is_first = first == NULL && (i == 0 || keys[i - 1] >> 32 != sequence);
        const int is_again =
            (first != NULL && first->reflector_sequence_number == (uint32_t)keys[i]) ||
            (i > 0 && keys[i - 1] == keys[i]);

        columns->reflect_duplicates += (uint64_t)is_again;
        columns->send_duplicates += (uint64_t)(!is_again && !is_first);
    }
}

/* ---- columns -----------------------------------------------------------------------------------
 */

static void add_up(struct tw_column *column)
{
    unsigned __int128 squares = 0;
    __int128 total = 0;

    for (uint64_t i = 0; i < column->count; i++) {
        const int64_t value = column->values[i];
        const unsigned __int128 square = (unsigned __int128)((__int128)value * value);

        total += value;
        squares += square;
        column->squares[2] += squares < square; /* carried */
    }
    column->total[0] = (uint64_t)total;
    column->total[1] = (uint64_t)(total >> 64);
    column->squares[0] = (uint64_t)squares;
    column->squares[1] = (uint64_t)(squares >> 64);
}

static void sort_up(struct tw_column *column, uint64_t *scratch)
{
    uint64_t *keys = (uint64_t *)column->values;
    int64_t least = INT64_MAX;

    for (uint64_t i = 0; i < column->count; i++)
        least = column->values[i] < least ? column->values[i] : least;
    /* Above the least there are few bits, and no sign. */
    for (uint64_t i = 0; i < column->count; i++)
        keys[i] -= (uint64_t)least;
    tw_sort(keys, scratch, column->count, UINT64_MAX);
    for (uint64_t i = 0; i < column->count; i++)
        keys[i] += (uint64_t)least;
}

static int ascends(const struct tw_table *table)
{
    for (uint32_t i = 1; i < table->size; i++)
        if (table->samples[i].sequence_number <= table->samples[i - 1].sequence_number)
            return 0;
    return 1;
}

int tw_columns_fill(const struct tw_table *table, struct tw_columns *columns)
{
    if (!ascends(table))
        return -EINVAL;
    find_ends(table, columns);
    const uint64_t silent = add_samples(table, columns);

    judge_return(table, columns);
    share_losses(table, columns, silent, judge_arrival(table, columns));
    count_duplicates(table, columns);
    for (int name = 0; name < TW_COLUMN_COUNT; name++) {
        add_up(&columns->columns[name]);
        sort_up(&columns->columns[name], table->scratch);
    }
    return 0;
}
