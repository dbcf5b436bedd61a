/* outbox.c: T3 is read once for each send call, right before it; what that costs in error is what
 * the call takes, so the call is made as large as the budget, and no larger. */
#include "reflector/outbox.h"
#include "kernel/clock.h"
#include "packet/reflect_head.h"

#include <errno.h>
#include <string.h>

#define LEAST_RUN       4 /* fewer for one peer are not worth a search */
#define EIGHTH          8u
#define GROWTH          1u /* eighths, after a portion that took less than the budget */
#define SHRINKAGE       2u /* after one that took more: two in three are to take less */
#define FIRST_SINGLES   (1u * EIGHTH)
#define FIRST_SEGMENTS  (4u * EIGHTH)
#define NOBODY_WAITS    (-1)
#define MOST_RUN_OCTETS 65507u
#define REFUSED_NS      (10ull * TW_NS_PER_S) /* then segments are tried again */
#define FNV_PRIME       0x100000001b3ull

int tw_outbox_open(struct tw_outbox *outbox, uint32_t tx_batch, uint32_t budget_ns, int ptp)
{
    const uint32_t fixed = tx_batch * EIGHTH;

    outbox->ptp = (uint8_t)(ptp != 0);
    outbox->budget_ns = tx_batch == 0 ? budget_ns : 0;
    outbox->single = (struct tw_portion){
        .eighths = fixed != 0 ? fixed : FIRST_SINGLES, .least = EIGHTH, .most = TW_BATCH * EIGHTH};
    outbox->run = (struct tw_portion){
        .eighths = FIRST_SEGMENTS, .least = 2 * EIGHTH, .most = TW_RUN_MAX * EIGHTH};
    return tw_mmsg_open(&outbox->io);
}

void tw_outbox_close(struct tw_outbox *outbox)
{
    tw_t3_error_close(&outbox->t3_error);
    tw_mmsg_close(&outbox->io);
}

/* ---- the order of replies */

static int same_peer(const struct tw_outbox *outbox, int a, int b)
{
    const struct tw_outgoing *one = &outbox->replies[a];

    return one->session == outbox->replies[b].session &&
           (!one->light || memcmp(&outbox->io.names[a], &outbox->io.names[b],
                                  outbox->io.headers[a].msg_hdr.msg_namelen) == 0);
}

/* Of one peer: whether they may be segments of one send. */
static int same_run(const struct tw_outbox *outbox, int a, int b)
{
    const struct msghdr *one = &outbox->io.headers[a].msg_hdr;
    const struct msghdr *other = &outbox->io.headers[b].msg_hdr;

    return outbox->io.vectors[a].iov_len == outbox->io.vectors[b].iov_len &&
           one->msg_controllen == other->msg_controllen &&
           memcmp(one->msg_control, other->msg_control, one->msg_controllen) == 0;
}

/* The latest group of the peer of reply i; -1: there is none. */
static int latest_group(const struct tw_outbox *outbox, const uint8_t *heads, int groups, int i)
{
    if (i > 0 && same_peer(outbox, i - 1, i)) /* as most often */
        return outbox->replies[i - 1].group;
    for (int group = groups - 1; group >= 0; group--) {
        if (same_peer(outbox, heads[group], i))
            return group;
    }
    return -1;
}

/* Orders the replies by peer, in groups that may leave together; those of one peer stay in the
 * order in which they came. */
static void order_by_peer(struct tw_outbox *outbox, int count)
{
    uint8_t heads[TW_BATCH]; /* first reply of group g */
    uint8_t last[TW_BATCH];
    uint8_t next[TW_BATCH]; /* of reply i in its group; itself = it is the last */
    int groups = 0;
    int at = 0;

    for (int i = 0; i < count; i++) {
        int group = latest_group(outbox, heads, groups, i);

        if (group < 0 || !same_run(outbox, heads[group], i)) {
            group = groups++;
            heads[group] = (uint8_t)i;
        } else {
            next[last[group]] = (uint8_t)i;
        }
        last[group] = next[i] = (uint8_t)i;
        outbox->replies[i].group = (uint8_t)group;
    }
    for (int group = 0; group < groups; group++) {
        int i = heads[group];

        for (outbox->order[at++] = (uint8_t)i; next[i] != i; outbox->order[at++] = (uint8_t)i)
            i = next[i];
    }
    outbox->as_built = groups == 1;
}

static void order_as_built(struct tw_outbox *outbox, int count)
{
    for (int i = 0; i < count; i++) {
        outbox->order[i] = (uint8_t)i;
        outbox->replies[i].group = (uint8_t)i;
    }
    outbox->as_built = 1;
}

static uint64_t *refused_until(struct tw_outbox *outbox, int i)
{
    const struct msghdr *message = &outbox->io.headers[i].msg_hdr;
    const uint8_t *name = message->msg_name;
    uint64_t hash = outbox->seed ^ outbox->io.vectors[i].iov_len << 32 ^ (uint32_t)outbox->fd;

    for (size_t at = 0; at < message->msg_namelen; at++)
        hash = (hash ^ name[at]) * FNV_PRIME;
    return &outbox->refused_until_ns[(hash ^ hash >> 32) % TW_REFUSALS];
}

static int may_be_segments(struct tw_outbox *outbox, int i)
{
    /* A moment that is farther away is of a clock that has been set since. */
    return *refused_until(outbox, i) - outbox->now_ns - 1 >= REFUSED_NS;
}

/* How many from at on are of one peer, so that they may leave as segments; 0 = too few, or not so.
 */
static int run_at(struct tw_outbox *outbox, int at, int count)
{
    const struct tw_outgoing *first = &outbox->replies[outbox->order[at]];
    int end = at;

    if (outbox->budget_ns == 0)
        return 0;
    while (end < count && outbox->replies[outbox->order[end]].group == first->group)
        end++;
    return end - at >= LEAST_RUN && may_be_segments(outbox, outbox->order[at]) ? end - at : 0;
}

/* ---- how many at once */

static int portion_of(const struct tw_portion *portion)
{
    return (int)(portion->eighths / EIGHTH);
}

/* A portion of full size has taken so long.  What took very long was interrupted, which says no
 * more than that it took too long. */
static void learn(struct tw_portion *portion, int size, uint64_t took_ns, uint64_t budget_ns)
{
    if (budget_ns == 0 || size != portion_of(portion))
        return;
    if (took_ns < budget_ns && portion->eighths + GROWTH <= portion->most)
        portion->eighths += GROWTH;
    else if (took_ns > budget_ns && portion->eighths >= portion->least + SHRINKAGE)
        portion->eighths -= SHRINKAGE;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* ---- sending */

/* T3, and what must follow it: encrypted mode encrypts it (RFC 5357 section 4.2.1).  What is sealed
 * already, because an earlier call did not take it, keeps its T3. */
static void stamp(struct tw_outbox *outbox, int i, uint64_t timestamp)
{
    struct tw_outgoing *reply = &outbox->replies[i];
    uint8_t *octets = outbox->io.vectors[i].iov_base;

    if (reply->sealed)
        return;
    tw_reflect_head_stamp(reply->layout, octets, timestamp);
    if (reply->cipher != NULL && tw_crypto_mode(reply->cipher) == TW_MODE_ENCRYPTED) {
        tw_crypto_seal_reply(reply->cipher, octets);
        reply->sealed = 1;
    }
}

static void stamp_all(struct tw_outbox *outbox, int at, int count, uint64_t unix_ns)
{
    const uint64_t ntp = tw_clock_ntp(unix_ns);
    const uint64_t of_light = outbox->ptp ? tw_clock_ptp(unix_ns) : ntp;

    for (int i = at; i < at + count; i++) {
        const int reply = outbox->order[i];

        stamp(outbox, reply, outbox->replies[reply].light ? of_light : ntp);
    }
}

static uint8_t drop_for(int error)
{
    return error == -EAGAIN || error == -ENOBUFS ? TW_DROP_SEND_BUFFER : TW_DROP_SEND_REFUSED;
}

/* The message gets a copy of its control messages that can be added to. */
static void copy_control(struct tw_outbox *outbox, struct msghdr *message)
{
    memcpy(outbox->control, message->msg_control, message->msg_controllen);
    message->msg_control = outbox->control;
}

static void ask_for_stamp(const struct tw_outbox *outbox, struct msghdr *message)
{
    uint8_t *control = message->msg_control;

    message->msg_controllen +=
        tw_cmsg_write_transmit_stamp(control + message->msg_controllen, outbox->t3_error.points);
}

/* Copies the headers into one array, in order, and lets the one ask that is to. */
static struct mmsghdr *line_up(struct tw_outbox *outbox, int at, int count, int asking)
{
    for (int i = 0; i < count; i++) {
        outbox->chunk[i].msg_hdr = outbox->io.headers[outbox->order[at + i]].msg_hdr;
        if (at + i == asking) {
            copy_control(outbox, &outbox->chunk[i].msg_hdr);
            ask_for_stamp(outbox, &outbox->chunk[i].msg_hdr);
        }
    }
    return outbox->chunk;
}

/* Sends up to count replies by one sendmmsg; returns how many are done with.  asking is the
 * position of the reply that asks for a stamp. */
static int send_singles(struct tw_outbox *outbox, int fd, int at, int count, int asking)
{
    const int asks = asking >= at && asking < at + count;
    struct mmsghdr *headers =
        outbox->as_built && !asks ? &outbox->io.headers[at] : line_up(outbox, at, count, asking);
    int sent;

    do
        sent = tw_mmsg_send(headers, fd, count);
    while (sent == -EINTR);
    if (sent > 0)
        return sent;
    outbox->replies[outbox->order[at]].drop = drop_for(sent); /* the rest goes on */
    return 1;
}

/* Whether an error says that these packets cannot be segments: the device does not checksum, they
 * are larger than the path takes, the kernel is older. */
static int is_no_segment(int error)
{
    return error == -EINVAL || error == -EIO || error == -EMSGSIZE || error == -EOPNOTSUPP ||
           error == -ENOPROTOOPT;
}

/* One send of size segments; returns how many are done with, or 0 when they are to be sent singly.
 */
static int send_run(struct tw_outbox *outbox, int fd, int at, int size, int asking)
{
    const int first = outbox->order[at];
    struct msghdr message = outbox->io.headers[first].msg_hdr;
    int sent;

    for (int i = 0; i < size; i++)
        outbox->segments[i] = outbox->io.vectors[outbox->order[at + i]];
    message.msg_iov = outbox->segments;
    message.msg_iovlen = (size_t)size;
    copy_control(outbox, &message);
    if (asking >= at && asking < at + size)
        ask_for_stamp(outbox, &message);
    message.msg_controllen += tw_cmsg_write_segment(outbox->control + message.msg_controllen,
                                                    (uint16_t)outbox->io.vectors[first].iov_len);
    do
        sent = tw_mmsg_send_one(&message, fd);
    while (sent == -EINTR);
    if (sent >= 0) {
        outbox->counters[TW_COUNTER_SEGMENTED] += (uint32_t)size;
        return size;
    }
    if (is_no_segment(sent)) {
        outbox->counters[TW_COUNTER_SEGMENTS_REFUSED]++;
        *refused_until(outbox, first) = outbox->now_ns + REFUSED_NS;
        return 0;
    }
    for (int i = 0; i < size; i++) /* no room for one is no room for the others */
        outbox->replies[outbox->order[at + i]].drop = drop_for(sent);
    return size;
}

/* Returns how many replies from at on leave by the next call, and whether as segments. */
static int next_chunk(struct tw_outbox *outbox, int at, int count, int *as_run)
{
    const int run = run_at(outbox, at, count);
    int end = at;

    *as_run = run > 0;
    if (run > 0) {
        const size_t length = outbox->io.vectors[outbox->order[at]].iov_len;

        return smaller(smaller(run, portion_of(&outbox->run)), (int)(MOST_RUN_OCTETS / length));
    }
    while (end < count && end - at < portion_of(&outbox->single) && run_at(outbox, end, count) == 0)
        end++;
    return end - at;
}

/* Returns the reply that asks for a stamp: the chosen one, or, in the chunk before it, another one,
 * so that the kernel's code for stamps is in the cache when the chosen one is measured. */
static int who_asks(const struct tw_t3_error *t3_error, const struct tw_stamp_ids *ids, int at,
                    int size, int chosen)
{
    const int is_next = chosen >= at + size && chosen < at + 2 * size;

    return is_next && ids->known && t3_error->waits_for == NULL ? at : chosen;
}

static void note_asked(struct tw_outbox *outbox, int fd, struct tw_stamp_ids *ids,
                       uint64_t clock_ns, int as_run)
{
    if (outbox->rehearsing || as_run == NOBODY_WAITS)
        ids->next_id++;
    else
        tw_t3_error_sent(&outbox->t3_error, fd, ids, clock_ns, as_run);
}

/* Turns the first reply to where nobody sees it.  It is sent by the same code as when it leaves, so
 * that nothing between reading the clock and the departure has to be fetched from memory then. */
static int begin_rehearsal(struct tw_outbox *outbox, int fd)
{
    struct msghdr *message = &outbox->io.headers[0].msg_hdr;

    outbox->rehearsed = *message;
    outbox->rehearsing = tw_rehearsal_begin(&outbox->t3_error.rehearsal, fd, message);
    outbox->replies[0].sealed = (uint8_t)outbox->rehearsing; /* T3 is still to come */
    return outbox->rehearsing;
}

static void end_rehearsal(struct tw_outbox *outbox, int fd, struct tw_stamp_ids *ids)
{
    struct msghdr *message = &outbox->io.headers[0].msg_hdr;

    tw_t3_error_read(&outbox->t3_error, fd, ids);
    tw_rehearsal_end(&outbox->t3_error.rehearsal, message);
    *message = outbox->rehearsed;
    outbox->replies[0].sealed = outbox->replies[0].drop = 0;
    outbox->rehearsing = 0;
}

/* Sends the replies from at on that leave by one call; how many. */
static inline __attribute__((always_inline)) int
send_chunk(struct tw_outbox *outbox, int fd, struct tw_stamp_ids *ids, int at, uint64_t *now_ns)
{
    const struct tw_t3_error *t3_error = &outbox->t3_error;
    const int chosen = outbox->chosen;
    const uint64_t began_ns = *now_ns;
    int as_run;
    const int size = next_chunk(outbox, at, outbox->count, &as_run);
    const int asking = who_asks(t3_error, ids, at, size, chosen);
    int done;

    stamp_all(outbox, at, size, began_ns + tw_t3_error_correction_ns(t3_error, as_run));
    done = as_run ? send_run(outbox, fd, at, size, asking)
                  : send_singles(outbox, fd, at, size, asking);
    *now_ns = tw_clock_unix_ns();
    if (asking >= at && asking < at + done && !outbox->replies[outbox->order[asking]].drop)
        note_asked(outbox, fd, ids, began_ns, asking == chosen ? as_run : NOBODY_WAITS);
    if (done == size)
        learn(as_run ? &outbox->run : &outbox->single, size, *now_ns - began_ns, outbox->budget_ns);
    return done;
}

void tw_outbox_send(struct tw_outbox *outbox, int fd, struct tw_stamp_ids *ids, int count)
{
    uint64_t now_ns = tw_clock_unix_ns();

    outbox->fd = fd;
    outbox->now_ns = now_ns;
    outbox->count = count;
    if (outbox->budget_ns != 0 && count >= LEAST_RUN)
        order_by_peer(outbox, count);
    else
        order_as_built(outbox, count);
    outbox->chosen = tw_t3_error_choose(&outbox->t3_error, fd, ids, count, now_ns);
    for (int left = tw_t3_error_rehearsals(&outbox->t3_error); left >= 0; left--) {
        if (left > 0 && !begin_rehearsal(outbox, fd))
            continue;
        now_ns = tw_clock_unix_ns();
        for (int at = 0; at < count;)
            at += send_chunk(outbox, fd, ids, at, &now_ns);
        if (left > 0)
            end_rehearsal(outbox, fd, ids);
    }
    outbox->t3_error.left_ns = now_ns;
}
