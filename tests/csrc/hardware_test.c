/* hardware_test.c: packets with hardware stamps, there and back, through the engine but for the
 * system calls, whose place this takes.  Prints each claim that does not hold. */
#include "reflector/batch.h"
#include "claim.h"
#include "kernel/clock.h"
#include "packet/octets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

#define AHEAD_NS (37 * (uint64_t)TW_NS_PER_S) /* of the device's clock */
#define DEVICE   9
#define ERROR_NS 2000
#define MS       1000000

/* ---- the kernel */

static struct {
    uint64_t kernel_ns; /* receive stamps; 0 = none */
    uint64_t hardware_ns;
    uint32_t device;
    uint64_t left_ns; /* the latest reply */
    int tells;        /* whether the device says when a reply has left */
    uint32_t asked;   /* SO_TIMESTAMPING flags of the latest reply */
    uint32_t departures;
    struct tw_reflector_packet reply;
} wire;

struct stamps {
    struct {
        int64_t seconds;
        int64_t nanoseconds;
    } stamp[3];
};

static size_t put(uint8_t *control, int level, int type, const void *octets, size_t length)
{
    const struct cmsghdr header = {
        .cmsg_len = CMSG_LEN(length), .cmsg_level = level, .cmsg_type = type};

    memset(control, 0, CMSG_SPACE(length));
    memcpy(control, &header, sizeof header);
    memcpy(control + CMSG_LEN(0), octets, length);
    return CMSG_SPACE(length);
}

static size_t put_stamps(uint8_t *control, uint64_t kernel_ns, uint64_t hardware_ns)
{
    const struct stamps stamps = {
        .stamp = {{(int64_t)(kernel_ns / TW_NS_PER_S), (int64_t)(kernel_ns % TW_NS_PER_S)},
                  {0, 0},
                  {(int64_t)(hardware_ns / TW_NS_PER_S), (int64_t)(hardware_ns % TW_NS_PER_S)}}};

    return put(control, SOL_SOCKET, 65 /* SO_TIMESTAMPING_NEW */, &stamps, sizeof stamps);
}

int tw_mmsg_open(struct tw_mmsg *io)
{
    io->storage = calloc(TW_BATCH, 2048);
    if (io->storage == NULL)
        return -ENOMEM;
    for (int i = 0; i < TW_BATCH; i++) {
        io->vectors[i].iov_base = io->storage + 2048 * i;
        io->headers[i].msg_hdr =
            (struct msghdr){.msg_name = &io->names[i], .msg_control = io->controls[i]};
    }
    return 0;
}

void tw_mmsg_close(struct tw_mmsg *io)
{
    free(io->storage);
}

/* One packet, and what the kernel says of it. */
int tw_mmsg_receive(struct tw_mmsg *io, int fd)
{
    const uint32_t by[4] = {wire.device, 86, 0, 0};
    struct tw_sender_packet packet = {.error_estimate = {{0, 1}}};
    struct msghdr *message = &io->headers[0].msg_hdr;
    size_t length = put_stamps(io->controls[0], wire.kernel_ns, wire.hardware_ns);

    (void)fd;
    if (wire.device != 0)
        length += put(io->controls[0] + length, SOL_SOCKET, 58, by, sizeof by);
    message->msg_controllen = length;
    message->msg_flags = 0;
    io->names[0].v4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(1000), .sin_addr.s_addr = htonl(0x7f000001)};
    memset(io->vectors[0].iov_base, 0, 41);
    memcpy(io->vectors[0].iov_base, &packet, sizeof packet);
    io->headers[0].msg_len = 41;
    return 1;
}

void tw_mmsg_address(struct tw_mmsg *io, int i, const struct msghdr *request, uint8_t tos,
                     const struct tw_rx *rx)
{
    (void)request;
    (void)tos;
    (void)rx;
    io->headers[i].msg_hdr.msg_iov = &io->vectors[i];
    io->headers[i].msg_hdr.msg_iovlen = 1;
    io->headers[i].msg_hdr.msg_controllen = 0;
}

int tw_mmsg_send_one(const struct msghdr *message, int fd)
{
    struct cmsghdr header;

    (void)fd;
    wire.asked = 0;
    if (message->msg_controllen != 0) {
        memcpy(&header, message->msg_control, sizeof header);
        CLAIM(header.cmsg_level == SOL_SOCKET && header.cmsg_type == 37);
        memcpy(&wire.asked, (uint8_t *)message->msg_control + CMSG_LEN(0), sizeof wire.asked);
    }
    memcpy(&wire.reply, message->msg_iov->iov_base, sizeof wire.reply);
    wire.left_ns = tw_clock_unix_ns();
    return 1;
}

int tw_mmsg_send(struct mmsghdr *headers, int fd, int count)
{
    CLAIM(count == 1);
    return tw_mmsg_send_one(&headers[0].msg_hdr, fd);
}

/* The error queue: the device says when the reply left, if it was asked. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct {
        struct sock_extended_err error;
        struct sockaddr_in offender;
    } left = {.error = {.ee_errno = ENOMSG,
                        .ee_origin = SO_EE_ORIGIN_TIMESTAMPING,
                        .ee_info = SCM_TSTAMP_SND,
                        .ee_data = wire.departures}};
    size_t length;

    (void)fd;
    CLAIM(flags & MSG_ERRQUEUE);
    if (!wire.tells || !(wire.asked & SOF_TIMESTAMPING_TX_HARDWARE)) {
        errno = EAGAIN;
        return -1;
    }
    length = put_stamps(message->msg_control, 0, wire.left_ns + AHEAD_NS);
    length += put((uint8_t *)message->msg_control + length, IPPROTO_IP, 11 /* IP_RECVERR */, &left,
                  sizeof left);
    message->msg_controllen = length;
    message->msg_flags = 0;
    wire.departures++;
    wire.asked = 0; /* it says so once */
    return 0;
}

/* ---- a reflector of one session */

struct bench {
    struct tw_pool pool;
    struct tw_admission admission;
    struct tw_batch batch;
    struct tw_batch_records records;
    uint32_t socket;
};

static struct tw_endpoint at(uint16_t port)
{
    return (struct tw_endpoint){.address = {127, 0, 0, 1}, .port = port, .ip_version = 4};
}

static void open_bench(struct bench *bench)
{
    const struct tw_reflector_config config = {
        .maximum_sessions = 1, .t3_budget_ns = 5000, .timestamp = TW_TIMESTAMP_HARDWARE};
    const struct tw_endpoint local = at(862);
    const struct tw_session_config session = {
        .local = local, .peer = at(1000), .mode = TW_MODE_UNAUTHENTICATED};
    int64_t id;

    memset(bench, 0, sizeof *bench);
    memset(&wire, 0, sizeof wire);
    CLAIM(tw_pool_open(&bench->pool, 1, 1) == 0);
    CLAIM(tw_admission_open(&bench->admission, 1, 1) == 0);
    CLAIM(tw_batch_open(&bench->batch, &config) == 0);
    bench->socket = tw_pool_adopt(&bench->pool, &local, 17);
    id = tw_pool_add(&bench->pool, bench->socket, &session);
    tw_pool_session(&bench->pool, id)->started = 1;
}

static void close_bench(struct bench *bench)
{
    tw_batch_close(&bench->batch);
    tw_admission_close(&bench->admission);
    tw_pool_close(&bench->pool);
}

static void know_the_clock(struct bench *bench, uint64_t unix_ns, uint32_t transmits)
{
    bench->batch.models.each[0] = (struct tw_clock_model){
        .device_ns = unix_ns + AHEAD_NS,
        .unix_ns = unix_ns,
        .error_ns = ERROR_NS,
        .interface = DEVICE,
        .transmits = transmits,
    };
    bench->batch.models.count = 1;
}

/* A packet there and back; T2 is in the reply. */
static uint64_t exchange(struct bench *bench)
{
    CLAIM(tw_batch_receive(&bench->batch, 17) == 1);
    tw_batch_assign(&bench->batch, &bench->pool, &bench->admission, bench->socket);
    tw_batch_answer(&bench->batch, 17);
    tw_batch_post(&bench->batch, &bench->pool, &bench->records);
    CLAIM(tw_get64(wire.reply.receive_timestamp) <= tw_get64(wire.reply.timestamp));
    return tw_get64(wire.reply.receive_timestamp);
}

static void claim_source(struct bench *bench, enum tw_source source)
{
    CLAIM(bench->records.stats.reflected == 1);
    CLAIM(bench->records.stats.receive_sources[source] == 1);
    CLAIM(bench->pool.sessions[0].stats.last_source == source);
}

/* ---- claims */

static void the_device_saw_it_first(uint32_t device)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();

    open_bench(&bench);
    know_the_clock(&bench, now_ns - 300 * (uint64_t)MS, 0);
    wire.kernel_ns = now_ns;
    wire.hardware_ns = now_ns + AHEAD_NS - 15000;
    wire.device = device;
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns - 15000));
    claim_source(&bench, TW_SOURCE_HARDWARE);
    CLAIM(bench.records.stats.counters[TW_COUNTER_REFUSED_STAMPS] == 0);
    CLAIM(bench.records.receive_lag.samples == 1);
    CLAIM(bench.records.receive_lag.most_ns == 15000);
    close_bench(&bench);
}

/* Each wrong in one way: the kernel's stamp is used, and it is counted. */
static void what_cannot_be_is_refused(uint64_t off_ns, uint32_t device, uint64_t age_ns)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();

    open_bench(&bench);
    if (age_ns != UINT64_MAX)
        know_the_clock(&bench, now_ns - age_ns, 0);
    wire.kernel_ns = now_ns;
    wire.hardware_ns = now_ns + AHEAD_NS + off_ns;
    wire.device = device;
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns));
    claim_source(&bench, TW_SOURCE_KERNEL);
    CLAIM(bench.records.stats.counters[TW_COUNTER_REFUSED_STAMPS] == 1);
    CLAIM(bench.records.receive_lag.samples == 0);
    close_bench(&bench);
}

static void the_models_error_is_no_reason_to_refuse(void)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();

    open_bench(&bench);
    know_the_clock(&bench, now_ns, 0);
    wire.kernel_ns = now_ns;
    wire.hardware_ns = now_ns + AHEAD_NS + ERROR_NS;
    wire.device = DEVICE;
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns)); /* never later than the kernel's */
    claim_source(&bench, TW_SOURCE_HARDWARE);
    close_bench(&bench);
}

static void without_a_stamp_of_the_kernel_it_is_as_good(void)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();

    open_bench(&bench);
    know_the_clock(&bench, now_ns, 0);
    wire.hardware_ns = now_ns + AHEAD_NS - 15000;
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns - 15000));
    claim_source(&bench, TW_SOURCE_HARDWARE);
    CLAIM(bench.records.receive_lag.samples == 0);
    close_bench(&bench);
}

static void of_two_devices_each_has_its_clock(void)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();

    open_bench(&bench);
    know_the_clock(&bench, now_ns, 0);
    bench.batch.models.each[1] = bench.batch.models.each[0];
    bench.batch.models.each[1].interface = DEVICE + 1;
    bench.batch.models.each[1].device_ns = now_ns - 5;
    bench.batch.models.count = 2;
    wire.kernel_ns = now_ns;
    wire.hardware_ns = now_ns - 5 - 15000;
    wire.device = DEVICE + 1;
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns - 15000));
    wire.device = 0; /* whose it is cannot be known */
    CLAIM(exchange(&bench) == tw_clock_ntp(now_ns));
    CLAIM(bench.records.stats.receive_sources[TW_SOURCE_HARDWARE] == 1);
    CLAIM(bench.records.stats.counters[TW_COUNTER_REFUSED_STAMPS] == 1);
    close_bench(&bench);
}

static void the_error_estimate_has_the_models_error(void)
{
    struct bench bench;

    open_bench(&bench);
    know_the_clock(&bench, tw_clock_unix_ns(), 0);
    bench.batch.models.each[0].error_ns = 60 * (uint64_t)TW_NS_PER_S; /* beyond any clock's */
    wire.kernel_ns = tw_clock_unix_ns();
    wire.hardware_ns = wire.kernel_ns + AHEAD_NS;
    wire.device = DEVICE;
    exchange(&bench);
    CLAIM((tw_get16(wire.reply.error_estimate) >> 8 & 63) >= 30); /* scale: 2^30 * 2^-32 s and up */
    close_bench(&bench);
}

static void the_device_tells_when_a_reply_has_left(void)
{
    struct bench bench;
    const uint64_t now_ns = tw_clock_unix_ns();
    uint64_t residual_ns;

    open_bench(&bench);
    know_the_clock(&bench, now_ns, 1);
    wire.kernel_ns = now_ns;
    wire.tells = 1;
    exchange(&bench);
    residual_ns = bench.records.t3_error.error.most_ns;
    CLAIM(bench.records.t3_error.error.samples == 1);
    CLAIM(bench.records.t3_error.source == TW_SOURCE_HARDWARE);
    CLAIM(bench.records.t3_error.missed == 0);
    CLAIM(tw_clock_ntp(wire.left_ns - residual_ns) == tw_get64(wire.reply.timestamp));
    close_bench(&bench);
}

/* Then the kernel is asked. */
static void a_device_that_cannot_is_not_asked(void)
{
    struct bench bench;

    open_bench(&bench);
    know_the_clock(&bench, tw_clock_unix_ns(), 0);
    wire.kernel_ns = tw_clock_unix_ns();
    wire.tells = 1;
    exchange(&bench);
    CLAIM(wire.asked == SOF_TIMESTAMPING_TX_SOFTWARE);
    close_bench(&bench);
}

int main(void)
{
    the_device_saw_it_first(DEVICE);
    the_device_saw_it_first(0);                       /* not said; there is but one */
    what_cannot_be_is_refused(0, DEVICE, UINT64_MAX); /* no model */
    what_cannot_be_is_refused(0, DEVICE + 1, 0);      /* another device's */
    what_cannot_be_is_refused(0, DEVICE, 11 * (uint64_t)TW_NS_PER_S); /* the model is old */
    what_cannot_be_is_refused(MS, DEVICE, 0);                         /* from the future */
    what_cannot_be_is_refused(-(uint64_t)(101 * MS), DEVICE, 0);      /* stale */
    what_cannot_be_is_refused(-AHEAD_NS, DEVICE, 0);                  /* on another timescale */
    the_models_error_is_no_reason_to_refuse();
    without_a_stamp_of_the_kernel_it_is_as_good();
    of_two_devices_each_has_its_clock();
    the_error_estimate_has_the_models_error();
    the_device_tells_when_a_reply_has_left();
    a_device_that_cannot_is_not_asked();
    return failures != 0;
}
