/* load.c: asks a reflector for all it can do: a closed loop with a fixed number of packets in
 * flight, bounded in packets and in time.
 * Usage: load LENGTH IN_FLIGHT COUNT SECONDS [segment] [gro] [check] [every=NS]
 * [sealed=HEXADECIMAL]
 * reads its flows from standard input, "FD ADDRESS PORT" each: a bound UDP socket, and where the
 * reflector of that flow is.  Flows of one socket stand together.
 *   segment  sends to a single flow by UDP_SEGMENT, as a bulk sender does
 *   gro      takes replies by UDP_GRO, as from a device that puts segments together
 *   check    stamps every packet, and compares T1, T2, T3 of its reply and when that came
 *   every    sends one packet each NS instead, and sleeps in between
 *   sealed   sends these octets as they stand
 * Prints one object of JSON: replies, elapsed_ns, lost, and with check disordered (replies whose
 * times are not in order), early (of these, that came before their T3) and t3_error_ns (when
 * replies came less T3, by percentile). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/net_tstamp.h>

#define BATCH          64
#define LONGEST        9000
#define LONGEST_GRO    65536
#define SHORTEST       14
#define REPLY_HEAD     41
#define ERROR_ESTIMATE 12         /* offset; its Multiplier is never 0 */
#define PATIENCE_NS    500000000u /* without a reply: what was in flight is lost */
#define RECEIVE_BUFFER (4 << 20)
#define MOST_FLOWS     65536
#define CONTROL        256
#define NS_PER_S       1000000000ull
#define NTP_TO_UNIX    2208988800ull
#define MOST_SEGMENTED 65507

struct flow {
    struct sockaddr_storage reflector;
    socklen_t length;
    int fd;
};

struct load {
    struct flow flows[MOST_FLOWS];
    int fds[MOST_FLOWS]; /* each once */
    struct mmsghdr tx[BATCH];
    struct mmsghdr rx[BATCH];
    struct iovec tx_vectors[BATCH];
    struct iovec rx_vectors[BATCH];
    uint8_t requests[BATCH][LONGEST];
    uint8_t replies[BATCH][LONGEST_GRO];
    uint8_t controls[BATCH][CONTROL];
    uint8_t *sealed;
    uint32_t *errors_ns; /* when each reply came less T3 */
    uint64_t checked;
    uint64_t disordered;
    uint64_t early;
    uint64_t received;
    uint64_t lost;
    uint64_t every_ns; /* 0 = a closed loop */
    size_t length;
    unsigned reply_length;
    uint32_t sequence_number;
    int flow_count;
    int fd_count;
    int next_flow;
    int segment;
    int gro;
    int check;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- what to do */

static int prepare(const struct load *load, int fd)
{
    const int buffer = RECEIVE_BUFFER, on = 1;
    const int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (load->check && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) < 0)
        return -1;
    return load->gro ? setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) : 0;
}

static int read_flow(struct flow *flow, const char *address, unsigned port)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&flow->reflector;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&flow->reflector;

    if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        flow->length = sizeof *four;
    } else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        flow->length = sizeof *six;
    } else {
        return -1;
    }
    return 0;
}

static int read_flows(struct load *load)
{
    char address[64];
    unsigned port;
    int fd;

    while (load->flow_count < MOST_FLOWS && scanf("%d %63s %u", &fd, address, &port) == 3) {
        struct flow *flow = &load->flows[load->flow_count];

        if (read_flow(flow, address, port) < 0)
            return -1;
        flow->fd = fd;
        if (load->flow_count == 0 || flow[-1].fd != fd) {
            load->fds[load->fd_count++] = fd;
            if (prepare(load, fd) < 0)
                return -1;
        }
        load->flow_count++;
    }
    if (load->flow_count == 1) /* as a sender of one session would */
        return connect(load->flows[0].fd, (const struct sockaddr *)&load->flows[0].reflector,
                       load->flows[0].length);
    return load->flow_count > 0 ? 0 : -1;
}

static int read_sealed(struct load *load, const char *text)
{
    load->sealed = malloc(load->length);
    if (load->sealed == NULL || strlen(text) != 2 * load->length)
        return -1;
    for (size_t at = 0; at < load->length; at++) {
        unsigned octet;

        if (sscanf(text + 2 * at, "%2x", &octet) != 1)
            return -1;
        load->sealed[at] = (uint8_t)octet;
    }
    return 0;
}

static int read_option(struct load *load, const char *option)
{
    if (strcmp(option, "segment") == 0)
        load->segment = 1;
    else if (strcmp(option, "gro") == 0)
        load->gro = 1;
    else if (strcmp(option, "check") == 0)
        load->check = 1;
    else if (strncmp(option, "every=", 6) == 0)
        load->every_ns = strtoull(option + 6, NULL, 10);
    else if (strncmp(option, "sealed=", 7) == 0)
        return read_sealed(load, option + 7);
    else
        return -1;
    return 0;
}

static void lay_out(struct load *load)
{
    load->reply_length = (unsigned)(load->length < REPLY_HEAD ? REPLY_HEAD : load->length);
    for (int i = 0; i < BATCH; i++) {
        load->requests[i][ERROR_ESTIMATE + 1] = 1;
        if (load->sealed != NULL)
            memcpy(load->requests[i], load->sealed, load->length);
        load->tx_vectors[i] =
            (struct iovec){.iov_base = load->requests[i], .iov_len = load->length};
        load->rx_vectors[i] = (struct iovec){.iov_base = load->replies[i], .iov_len = LONGEST_GRO};
        load->tx[i].msg_hdr = (struct msghdr){.msg_iov = &load->tx_vectors[i], .msg_iovlen = 1};
        load->rx[i].msg_hdr = (struct msghdr){.msg_iov = &load->rx_vectors[i], .msg_iovlen = 1};
    }
}

/* ---- sending */

static void write_request(struct load *load, int i, uint64_t timestamp)
{
    const uint32_t number = htonl(load->sequence_number + (uint32_t)i);
    const uint64_t stamp = htobe64(timestamp);

    memcpy(load->requests[i], &number, sizeof number);
    memcpy(load->requests[i] + 4, &stamp, sizeof stamp);
}

static uint64_t ntp_now(const struct load *load)
{
    const uint64_t now_ns = load->check ? clock_ns(CLOCK_REALTIME) : 0;

    return (now_ns / NS_PER_S + NTP_TO_UNIX) << 32 | ((now_ns % NS_PER_S) << 32) / NS_PER_S;
}

/* The next packets of the flows in turn, as far as they are of one socket; how many. */
static int write_requests(struct load *load, int count, int *fd)
{
    const uint64_t timestamp = ntp_now(load);
    int i;

    *fd = load->flows[load->next_flow].fd;
    for (i = 0; i < count && load->flows[load->next_flow].fd == *fd; i++) {
        struct flow *flow = &load->flows[load->next_flow];

        if (load->flow_count > 1) {
            load->tx[i].msg_hdr.msg_name = &flow->reflector;
            load->tx[i].msg_hdr.msg_namelen = flow->length;
        }
        if (load->sealed == NULL)
            write_request(load, i, timestamp);
        load->next_flow = (load->next_flow + 1) % load->flow_count;
    }
    return i;
}

static int send_segments(struct load *load, int fd, int count)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    const int most = (int)(MOST_SEGMENTED / load->length);
    const int segments = count < most ? count : most;
    const uint16_t size = (uint16_t)load->length;
    struct msghdr message = {.msg_iov = load->tx_vectors,
                             .msg_iovlen = (size_t)segments,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(header), &size, sizeof size);
    return sendmsg(fd, &message, 0) < 0 ? -1 : segments;
}

/* All of them or -1. */
static int send_packets(struct load *load, int count)
{
    while (count > 0) {
        int fd;
        const int chunk = write_requests(load, count < BATCH ? count : BATCH, &fd);
        const int sent = load->segment ? send_segments(load, fd, chunk)
                                       : sendmmsg(fd, load->tx, (unsigned)chunk, 0);

        if (sent < 0)
            return -1;
        load->sequence_number += (uint32_t)sent;
        count -= sent;
    }
    return 0;
}

/* ---- receiving */

static uint64_t ntp_at(const uint8_t *octets)
{
    uint64_t value;

    memcpy(&value, octets, sizeof value);
    return be64toh(value);
}

static uint64_t unix_ns(uint64_t ntp)
{
    return ((ntp >> 32) - NTP_TO_UNIX) * NS_PER_S + ((ntp & 0xffffffffu) * NS_PER_S >> 32);
}

static uint64_t came_ns(struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        struct timespec stamp;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_TIMESTAMPING)
            continue;
        memcpy(&stamp, CMSG_DATA(header), sizeof stamp);
        return (uint64_t)stamp.tv_sec * NS_PER_S + (uint64_t)stamp.tv_nsec;
    }
    return 0;
}

static void check_reply(struct load *load, const uint8_t *reply, uint64_t t4_ns)
{
    const uint64_t t1 = ntp_at(reply + 28), t2 = ntp_at(reply + 16), t3 = ntp_at(reply + 4);
    const uint64_t t3_ns = unix_ns(t3);

    load->disordered += t1 > t2 || t2 > t3 || t3_ns > t4_ns;
    load->early += t3_ns > t4_ns;
    load->errors_ns[load->checked++] =
        t4_ns < t3_ns ? 0 : (uint32_t)(t4_ns - t3_ns < UINT32_MAX ? t4_ns - t3_ns : UINT32_MAX);
}

/* The replies in message i; -1 for one of a wrong length. */
static int count_replies(struct load *load, int i)
{
    const unsigned length = load->rx[i].msg_len;
    const uint64_t t4_ns = load->check ? came_ns(&load->rx[i].msg_hdr) : 0;

    if (length == 0 || length % load->reply_length != 0)
        return -1;
    for (unsigned at = 0; at < length && load->check; at += load->reply_length)
        check_reply(load, load->replies[i] + at, t4_ns);
    return (int)(length / load->reply_length);
}

/* How many replies there are on a socket now; -1 for an error or a reply of a wrong length. */
static int receive_from(struct load *load, int fd)
{
    int replies = 0;
    int count;

    for (int i = 0; i < BATCH && load->check; i++) {
        load->rx[i].msg_hdr.msg_control = load->controls[i];
        load->rx[i].msg_hdr.msg_controllen = CONTROL;
    }
    count = recvmmsg(fd, load->rx, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0)
        return errno == EAGAIN ? 0 : -1;
    for (int i = 0; i < count; i++) {
        const int more = count_replies(load, i);

        if (more < 0) {
            errno = EBADMSG;
            return -1;
        }
        replies += more;
    }
    load->received += (uint64_t)replies;
    return replies;
}

/* How many replies came, 0 when none did in time; -1 for an error.  Does not sleep: a wake-up
 * would be a pause for the reflector. */
static int receive_replies(struct load *load)
{
    const uint64_t deadline_ns = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
    int replies = 0;

    while (replies == 0 && clock_ns(CLOCK_MONOTONIC) < deadline_ns) {
        for (int i = 0; i < load->fd_count; i++) {
            const int more = receive_from(load, load->fds[i]);

            if (more < 0)
                return -1;
            replies += more;
        }
    }
    return replies;
}

/* Keeps the number in flight until there is enough, then waits for those that still fly. */
static int run(struct load *load, int in_flight, uint64_t count, uint64_t deadline_ns)
{
    int flying = 0;
    int enough = 0;

    while (!enough || flying > 0) {
        int replies;

        enough = enough || load->received + (uint64_t)flying >= count ||
                 clock_ns(CLOCK_MONOTONIC) >= deadline_ns;
        if (!enough) {
            if (send_packets(load, in_flight - flying) < 0)
                return -1;
            flying = in_flight;
        }
        replies = receive_replies(load);
        if (replies < 0)
            return -1;
        if (replies == 0)
            load->lost += (uint64_t)flying;
        flying = replies == 0 || replies > flying ? 0 : flying - replies;
    }
    return 0;
}

static void sleep_until(const struct load *load, uint64_t due_ns)
{
    struct pollfd polled = {.fd = load->fds[0], .events = POLLIN};
    const uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    const uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    const struct timespec left = {.tv_sec = (time_t)(left_ns / NS_PER_S),
                                  .tv_nsec = (long)(left_ns % NS_PER_S)};

    ppoll(&polled, 1, &left, NULL);
}

/* An open loop, of one socket. */
static int run_steadily(struct load *load, uint64_t count)
{
    uint64_t due_ns = clock_ns(CLOCK_MONOTONIC);

    for (uint64_t sent = 0; sent <= count; sent++) {
        due_ns += sent < count ? load->every_ns : PATIENCE_NS;
        while (clock_ns(CLOCK_MONOTONIC) < due_ns && load->received < count) {
            sleep_until(load, due_ns);
            if (receive_from(load, load->fds[0]) < 0)
                return -1;
        }
        if (sent < count && send_packets(load, 1) < 0)
            return -1;
    }
    load->lost = count - load->received;
    return 0;
}

/* ---- what came of it */

static int ascending(const void *a, const void *b)
{
    const uint32_t left = *(const uint32_t *)a;
    const uint32_t right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static void print_errors(const struct load *load)
{
    static const char *const names[] = {"1", "10", "25", "50", "75", "90", "99", "99.9", "99.99"};
    static const unsigned shares[] = {100, 1000, 2500, 5000, 7500, 9000, 9900, 9990, 9999};

    qsort(load->errors_ns, load->checked, sizeof *load->errors_ns, ascending);
    printf(", \"disordered\": %llu, \"early\": %llu, \"t3_error_ns\": {",
           (unsigned long long)load->disordered, (unsigned long long)load->early);
    for (size_t i = 0; i < sizeof shares / sizeof *shares && load->checked > 0; i++)
        printf("%s\"%s\": %u", i == 0 ? "" : ", ", names[i],
               load->errors_ns[(load->checked - 1) * shares[i] / 10000]);
    printf("}");
}

static void print(const struct load *load, uint64_t elapsed_ns)
{
    printf("{\"replies\": %llu, \"elapsed_ns\": %llu, \"lost\": %llu",
           (unsigned long long)load->received, (unsigned long long)elapsed_ns,
           (unsigned long long)load->lost);
    if (load->check)
        print_errors(load);
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct load load;
    unsigned long numbers[4];
    uint64_t begin_ns;

    if (argc < 5)
        return 2;
    for (int i = 0; i < 4; i++)
        numbers[i] = strtoul(argv[i + 1], NULL, 10);
    load.length = numbers[0];
    if (load.length < SHORTEST || load.length > LONGEST)
        return 2;
    for (int i = 5; i < argc; i++) {
        if (read_option(&load, argv[i]) < 0) {
            fprintf(stderr, "load: %.20s: no option, or octets of another length\n", argv[i]);
            return 2;
        }
    }
    load.errors_ns = calloc(numbers[2] + numbers[1] + BATCH, sizeof *load.errors_ns);
    if (load.errors_ns == NULL || read_flows(&load) < 0) {
        perror("load: flows");
        return 2;
    }
    lay_out(&load);
    begin_ns = clock_ns(CLOCK_MONOTONIC);
    if ((load.every_ns != 0
             ? run_steadily(&load, numbers[2])
             : run(&load, (int)numbers[1], numbers[2], begin_ns + numbers[3] * NS_PER_S)) < 0) {
        perror("load");
        return 1;
    }
    print(&load, clock_ns(CLOCK_MONOTONIC) - begin_ns);
    return 0;
}
