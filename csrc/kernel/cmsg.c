/* cmsg.c: the one place that knows the kernel's ways with socket options and control messages.
 * Control messages are matched by level, type and exact length, and copied, never cast. */
#define _GNU_SOURCE 1 /* struct in6_pktinfo */
#include "kernel/kernel.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>

/* Since Linux 4.12 and 5.1; older headers lack them. */
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
#ifndef UDP_SEGMENT /* 4.18 */
#define UDP_SEGMENT 103
#endif
#ifndef SO_TIMESTAMPING_OLD
#define SO_TIMESTAMPING_OLD 37
#endif
#ifndef SO_TIMESTAMPING_NEW
#define SO_TIMESTAMPING_NEW 65
#endif
#ifndef SCM_TIMESTAMPING_PKTINFO /* 4.13 */
#define SCM_TIMESTAMPING_PKTINFO 58
#endif

#define LONGEST_SANE_S 9223372036 /* what fits in 63 bits of ns */

/* SCM_TIMESTAMPING: software, unused, hardware; _OLD of the machine's long, _NEW of 64 bits. */
struct stamps_old {
    struct {
        long seconds;
        long nanoseconds;
    } stamp[3];
};

struct stamps_new {
    struct {
        int64_t seconds;
        int64_t nanoseconds;
    } stamp[3];
};

/* IP_RECVERR and IPV6_RECVERR: the error, and the address that it is about. */
struct error_v4 {
    struct sock_extended_err error;
    struct sockaddr_in offender;
};

struct error_v6 {
    struct sock_extended_err error;
    struct sockaddr_in6 offender;
};

/* SCM_TIMESTAMPING_PKTINFO */
struct stamped_by {
    uint32_t interface;
    uint32_t length;
    uint32_t reserved[2];
};

struct stamps {
    uint64_t kernel_ns;
    uint64_t hardware_ns;
};

socklen_t tw_socket_address(const struct tw_endpoint *endpoint, union tw_sockaddr *address)
{
    memset(address, 0, sizeof *address);
    if (endpoint->ip_version == 4) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(endpoint->port);
        memcpy(&address->v4.sin_addr, endpoint->address, sizeof address->v4.sin_addr);
        return sizeof address->v4;
    }
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons(endpoint->port);
    address->v6.sin6_scope_id = endpoint->scope_id;
    memcpy(&address->v6.sin6_addr, endpoint->address, sizeof address->v6.sin6_addr);
    return sizeof address->v6;
}

int tw_socket_endpoint(const union tw_sockaddr *address, struct tw_endpoint *endpoint)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (address->any.sa_family == AF_INET) {
        endpoint->ip_version = 4;
        endpoint->port = ntohs(address->v4.sin_port);
        memcpy(endpoint->address, &address->v4.sin_addr, sizeof address->v4.sin_addr);
        return 0;
    }
    if (address->any.sa_family == AF_INET6) {
        endpoint->ip_version = 6;
        endpoint->port = ntohs(address->v6.sin6_port);
        endpoint->scope_id = address->v6.sin6_scope_id;
        memcpy(endpoint->address, &address->v6.sin6_addr, sizeof address->v6.sin6_addr);
        return 0;
    }
    return -EAFNOSUPPORT;
}

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

/* Only what is no UDP socket of that IP version is an error; an option that the kernel lacks costs
 * the value it would have given (TTL 255, DSCP 0, a smaller buffer), not the session. */
int tw_socket_prepare(int fd, int ip_version, uint32_t receive_buffer, uint8_t ttl)
{
    int domain = 0;
    int type = 0;
    socklen_t length = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0)
        return -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
        return -errno;
    if (type != SOCK_DGRAM || domain != (ip_version == 4 ? AF_INET : AF_INET6))
        return -EINVAL;
    if (ip_version == 4) {
        set_option(fd, IPPROTO_IP, IP_TTL, ttl);
        set_option(fd, IPPROTO_IP, IP_RECVTTL, 1);
        set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    } else {
        set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    }
    set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (receive_buffer > INT32_MAX / 2)
        receive_buffer = INT32_MAX / 2; /* the kernel doubles it */
    if (receive_buffer != 0 && set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)receive_buffer) < 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, (int)receive_buffer);
    return 0;
}

uint32_t tw_socket_receive_buffer(int fd)
{
    int doubled = 0;
    socklen_t length = sizeof doubled;

    (void)!getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &doubled, &length); /* unknown: 0 */
    return doubled > 0 ? (uint32_t)doubled / 2 : 0;
}

uint32_t tw_socket_overflows(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t length = sizeof memory;

    (void)!getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length); /* unknown: none */
    return memory[SK_MEMINFO_DROPS];
}

static int set_stamping(int fd, int flags)
{
    if (set_option(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, flags) == 0)
        return 0;
    return set_option(fd, SOL_SOCKET, SO_TIMESTAMPING_OLD, flags);
}

int tw_socket_stamp_receive(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

int tw_socket_stamp_asked(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_socket_stamp_hardware(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE |
                                SOF_TIMESTAMPING_OPT_PKTINFO | SOF_TIMESTAMPING_OPT_ID |
                                SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_socket_stamp_nothing(int fd)
{
    return set_stamping(fd, 0);
}

int tw_socket_stamp_both(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                                SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_socket_stamp_everything(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_HARDWARE |
                                SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE |
                                SOF_TIMESTAMPING_OPT_TX_SWHW | SOF_TIMESTAMPING_OPT_PKTINFO |
                                SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_socket_set_dscp(int fd, int ip_version, uint8_t dscp)
{
    const int tos = dscp << 2; /* ECN: Not-ECT */

    return ip_version == 4 ? set_option(fd, IPPROTO_IP, IP_TOS, tos)
                           : set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
}

int tw_socket_tell_asked(int fd, int ip_version)
{
    int v6only = 0;
    socklen_t length = sizeof v6only;

    if (ip_version == 4)
        return set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &length) < 0)
        return -errno;
    /* Addresses of IPv4 would come in the clothes of IPv6, and match no prefix. */
    return v6only ? set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : -EINVAL;
}

int tw_socket_keep_stamping(int must)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0)
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    result = tw_socket_stamp_receive(fd);
    if (result < 0 && must) {
        close(fd);
        return result;
    }
    return fd; /* refused: no kernel stamps, and every T2 says so by its source */
}

/* The control message at *offset: its header and its octets; *offset moves on.  0 at the end. */
static int next_control(const uint8_t *control, size_t length, size_t *offset,
                        struct cmsghdr *header, const uint8_t **octets)
{
    size_t left;

    if (*offset >= length || length - *offset < sizeof *header)
        return 0;
    left = length - *offset;
    memcpy(header, control + *offset, sizeof *header);
    if (header->cmsg_len < CMSG_LEN(0) || header->cmsg_len > left)
        return 0;
    *octets = control + *offset + CMSG_LEN(0);
    *offset += CMSG_ALIGN(header->cmsg_len);
    return 1;
}

static int is_kind(const struct cmsghdr *header, int level, int type, size_t length)
{
    return header->cmsg_level == level && header->cmsg_type == type &&
           header->cmsg_len == CMSG_LEN(length);
}

static uint64_t stamp_ns(int64_t seconds, int64_t nanoseconds)
{
    if (seconds < 0 || seconds >= LONGEST_SANE_S || nanoseconds < 0 ||
        nanoseconds >= (int64_t)TW_NS_PER_S)
        return 0;
    return (uint64_t)seconds * TW_NS_PER_S + (uint64_t)nanoseconds;
}

/* Whether it has the stamps, in either layout; a zero one is none. */
static int read_stamps(const struct cmsghdr *header, const uint8_t *octets, struct stamps *stamps)
{
    struct stamps_old narrow;
    struct stamps_new wide;

    if (is_kind(header, SOL_SOCKET, SO_TIMESTAMPING_NEW, sizeof wide)) {
        memcpy(&wide, octets, sizeof wide);
        stamps->kernel_ns = stamp_ns(wide.stamp[0].seconds, wide.stamp[0].nanoseconds);
        stamps->hardware_ns = stamp_ns(wide.stamp[2].seconds, wide.stamp[2].nanoseconds);
        return 1;
    }
    if (is_kind(header, SOL_SOCKET, SO_TIMESTAMPING_OLD, sizeof narrow)) {
        memcpy(&narrow, octets, sizeof narrow);
        stamps->kernel_ns = stamp_ns(narrow.stamp[0].seconds, narrow.stamp[0].nanoseconds);
        stamps->hardware_ns = stamp_ns(narrow.stamp[2].seconds, narrow.stamp[2].nanoseconds);
        return 1;
    }
    return 0;
}

/* The address that a packet was sent to, of either IP version: 1, or 0. */
static int read_asked(const struct cmsghdr *header, const uint8_t *octets, struct tw_rx *rx)
{
    struct in_pktinfo narrow;
    struct in6_pktinfo wide;

    if (is_kind(header, IPPROTO_IP, IP_PKTINFO, sizeof narrow)) {
        memcpy(&narrow, octets, sizeof narrow);
        memcpy(rx->asked, &narrow.ipi_addr, sizeof narrow.ipi_addr);
        rx->interface = (uint32_t)narrow.ipi_ifindex;
        rx->asked_ip_version = 4;
        return 1;
    }
    if (is_kind(header, IPPROTO_IPV6, IPV6_PKTINFO, sizeof wide)) {
        memcpy(&wide, octets, sizeof wide);
        memcpy(rx->asked, &wide.ipi6_addr, sizeof wide.ipi6_addr);
        rx->interface = wide.ipi6_ifindex;
        rx->asked_ip_version = 6;
        return 1;
    }
    return 0;
}

void tw_socket_parse(const uint8_t *control, size_t length, struct tw_rx *rx)
{
    struct stamps stamps = {0};
    struct stamped_by by;
    struct cmsghdr header;
    const uint8_t *octets;
    size_t offset = 0;
    int value;

    *rx = (struct tw_rx){.ttl = 255};
    while (next_control(control, length, &offset, &header, &octets)) {
        if (read_stamps(&header, octets, &stamps))
            continue;
        if (is_kind(&header, IPPROTO_IP, IP_TTL, sizeof value) ||
            is_kind(&header, IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof value)) {
            memcpy(&value, octets, sizeof value);
            rx->ttl = (uint8_t)value;
        } else if (is_kind(&header, IPPROTO_IP, IP_TOS, 1)) { /* one octet when received */
            rx->tos = *octets;
        } else if (is_kind(&header, IPPROTO_IPV6, IPV6_TCLASS, sizeof value)) {
            memcpy(&value, octets, sizeof value);
            rx->tos = (uint8_t)value;
        } else if (is_kind(&header, SOL_SOCKET, SO_RXQ_OVFL, sizeof rx->overflows)) {
            memcpy(&rx->overflows, octets, sizeof rx->overflows);
        } else if (is_kind(&header, SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO, sizeof by)) {
            memcpy(&by, octets, sizeof by);
            rx->device = by.interface;
        } else {
            read_asked(&header, octets, rx);
        }
    }
    rx->kernel_ns = stamps.kernel_ns;
    rx->hardware_ns = stamps.hardware_ns;
}

void tw_socket_read_control(struct msghdr *message, struct tw_rx *rx)
{
    tw_socket_parse(message->msg_control, message->msg_controllen, rx);
    rx->truncated = (message->msg_flags & MSG_CTRUNC) != 0;
}

static size_t write_control(void *control, int level, int type, const void *octets, size_t length)
{
    const struct cmsghdr header = {
        .cmsg_len = CMSG_LEN(length), .cmsg_level = level, .cmsg_type = type};

    memset(control, 0, CMSG_SPACE(length));
    memcpy(control, &header, sizeof header);
    memcpy((uint8_t *)control + CMSG_LEN(0), octets, length);
    return CMSG_SPACE(length);
}

size_t tw_socket_write_tos(void *control, int ip_version, uint8_t tos)
{
    const int value = tos;

    return ip_version == 4
               ? write_control(control, IPPROTO_IP, IP_TOS, &value, sizeof value)
               : write_control(control, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
}

/* Those addresses are of one interface each; all others may leave by the one that the route says.
 */
static int is_link_local(const struct tw_rx *rx)
{
    if (rx->asked_ip_version == 4)
        return rx->asked[0] == 169 && rx->asked[1] == 254;
    return rx->asked[0] == 0xfe && (rx->asked[1] & 0xc0) == 0x80;
}

size_t tw_socket_write_transmit_stamp(void *control, int hardware)
{
    const uint32_t flags = hardware ? SOF_TIMESTAMPING_TX_HARDWARE : SOF_TIMESTAMPING_TX_SOFTWARE;

    return write_control(control, SOL_SOCKET, SO_TIMESTAMPING_OLD, &flags, sizeof flags);
}

size_t tw_socket_write_segment(void *control, uint16_t octets)
{
    return write_control(control, IPPROTO_UDP, UDP_SEGMENT, &octets, sizeof octets);
}

size_t tw_socket_write_source(void *control, const struct tw_rx *rx)
{
    const uint32_t interface = is_link_local(rx) ? rx->interface : 0;
    struct in_pktinfo narrow = {.ipi_ifindex = (int)interface};
    struct in6_pktinfo wide = {.ipi6_ifindex = interface};

    if (rx->asked_ip_version == 4) {
        memcpy(&narrow.ipi_spec_dst, rx->asked, sizeof narrow.ipi_spec_dst);
        return write_control(control, IPPROTO_IP, IP_PKTINFO, &narrow, sizeof narrow);
    }
    memcpy(&wide.ipi6_addr, rx->asked, sizeof wide.ipi6_addr);
    return write_control(control, IPPROTO_IPV6, IPV6_PKTINFO, &wide, sizeof wide);
}

/* Whether it says that a packet has left, and the packet's number. */
static int read_error(const struct cmsghdr *header, const uint8_t *octets, uint32_t *id)
{
    struct sock_extended_err error;

    if (!is_kind(header, IPPROTO_IP, IP_RECVERR, sizeof(struct error_v4)) &&
        !is_kind(header, IPPROTO_IPV6, IPV6_RECVERR, sizeof(struct error_v6)))
        return 0;
    memcpy(&error, octets, sizeof error);
    *id = error.ee_data;
    return error.ee_errno == ENOMSG && error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING &&
           error.ee_info == SCM_TSTAMP_SND;
}

int tw_socket_parse_departure(const uint8_t *control, size_t length, struct tw_departure *departure)
{
    struct stamps stamps = {0};
    struct cmsghdr header;
    const uint8_t *octets;
    size_t offset = 0;
    int left = 0;

    *departure = (struct tw_departure){0};
    while (next_control(control, length, &offset, &header, &octets)) {
        if (!read_stamps(&header, octets, &stamps))
            left |= read_error(&header, octets, &departure->id);
    }
    departure->kernel_ns = stamps.kernel_ns;
    departure->hardware_ns = stamps.hardware_ns;
    return left && (stamps.kernel_ns != 0 || stamps.hardware_ns != 0);
}

int tw_socket_read_departure(struct msghdr *message, struct tw_departure *departure)
{
    if (message->msg_flags & MSG_CTRUNC)
        return 0;
    return tw_socket_parse_departure(message->msg_control, message->msg_controllen, departure);
}
