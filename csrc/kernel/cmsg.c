/* cmsg.c: control messages are matched by level, type and exact length, and copied, never cast. */
#define _GNU_SOURCE 1 /* struct in6_pktinfo */
#include "kernel/cmsg.h"
#include "kernel/address.h"
#include "kernel/clock.h"
#include "kernel/missing.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <netinet/in.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>

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
static int read_stamps(const struct cmsghdr *header, const uint8_t *octets,
                       struct tw_raw_stamps *stamps)
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

void tw_cmsg_parse(const uint8_t *control, size_t length, struct tw_rx *rx)
{
    struct stamped_by by;
    struct cmsghdr header;
    const uint8_t *octets;
    size_t offset = 0;
    int value;

    *rx = (struct tw_rx){.ttl = 255};
    while (next_control(control, length, &offset, &header, &octets)) {
        if (read_stamps(&header, octets, &rx->stamps))
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
            rx->stamps.device = by.interface;
        } else {
            read_asked(&header, octets, rx);
        }
    }
}

void tw_cmsg_read_arrival(struct msghdr *message, struct tw_rx *rx)
{
    tw_cmsg_parse(message->msg_control, message->msg_controllen, rx);
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

size_t tw_cmsg_write_tos(void *control, int ip_version, uint8_t tos)
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

size_t tw_cmsg_write_transmit_stamp(void *control, uint32_t points)
{
    const uint32_t flags =
        (points & TW_TRANSMIT_QUEUED ? (uint32_t)SOF_TIMESTAMPING_TX_SCHED : 0) |
        (points & TW_TRANSMIT_KERNEL ? (uint32_t)SOF_TIMESTAMPING_TX_SOFTWARE : 0) |
        (points & TW_TRANSMIT_HARDWARE ? (uint32_t)SOF_TIMESTAMPING_TX_HARDWARE : 0);

    return write_control(control, SOL_SOCKET, SO_TIMESTAMPING_OLD, &flags, sizeof flags);
}

size_t tw_cmsg_write_segment(void *control, uint16_t octets)
{
    return write_control(control, IPPROTO_UDP, UDP_SEGMENT, &octets, sizeof octets);
}

size_t tw_cmsg_write_source(void *control, const struct tw_rx *rx)
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

/* Reads a message of the error queue, and the address of the one that it comes from: 1, or 0. */
static int read_extended(const struct cmsghdr *header, const uint8_t *octets,
                         struct sock_extended_err *error, struct tw_endpoint *source)
{
    const int is_v4 = is_kind(header, IPPROTO_IP, IP_RECVERR, sizeof(struct error_v4));
    union tw_sockaddr offender = {0};

    if (!is_v4 && !is_kind(header, IPPROTO_IPV6, IPV6_RECVERR, sizeof(struct error_v6)))
        return 0;
    memcpy(error, octets, sizeof *error);
    memcpy(&offender, octets + sizeof *error,
           is_v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
    tw_address_to_endpoint(&offender, source);
    return 1;
}

/* Whether it says that a packet is on its way out, which, and how far. */
static int read_error(const struct cmsghdr *header, const uint8_t *octets,
                      struct tw_departure *departure)
{
    struct sock_extended_err error;
    struct tw_endpoint source;

    if (!read_extended(header, octets, &error, &source))
        return 0;
    departure->id = error.ee_data;
    departure->queued = error.ee_info == SCM_TSTAMP_SCHED;
    return error.ee_errno == ENOMSG && error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING &&
           (error.ee_info == SCM_TSTAMP_SND || error.ee_info == SCM_TSTAMP_SCHED);
}

int tw_cmsg_parse_departure(const uint8_t *control, size_t length, struct tw_departure *departure)
{
    struct cmsghdr header;
    const uint8_t *octets;
    size_t offset = 0;
    int left = 0;

    *departure = (struct tw_departure){0};
    while (next_control(control, length, &offset, &header, &octets)) {
        if (!read_stamps(&header, octets, &departure->stamps))
            left |= read_error(&header, octets, departure);
    }
    return left && (departure->stamps.kernel_ns != 0 || departure->stamps.hardware_ns != 0);
}

/* Types and codes of RFC 792 and RFC 1812. */
static uint32_t kind_of_icmp4(const struct sock_extended_err *error)
{
    if (error->ee_type != 3)
        return TW_ICMP_OTHER;
    if (error->ee_code == 3)
        return TW_ICMP_PORT_UNREACHABLE;
    if (error->ee_code == 9 || error->ee_code == 10 || error->ee_code == 13)
        return TW_ICMP_PROHIBITED;
    return TW_ICMP_UNREACHABLE;
}

/* Types and codes of RFC 4443. */
static uint32_t kind_of_icmp6(const struct sock_extended_err *error)
{
    if (error->ee_type != 1)
        return TW_ICMP_OTHER;
    if (error->ee_code == 4)
        return TW_ICMP_PORT_UNREACHABLE;
    if (error->ee_code == 1 || error->ee_code == 5 || error->ee_code == 6)
        return TW_ICMP_PROHIBITED;
    return TW_ICMP_UNREACHABLE;
}

static int read_icmp(const struct cmsghdr *header, const uint8_t *octets,
                     struct tw_icmp_error *icmp)
{
    struct sock_extended_err error;

    if (!read_extended(header, octets, &error, &icmp->source))
        return 0;
    icmp->mtu = error.ee_errno == EMSGSIZE ? error.ee_info : 0;
    if (error.ee_origin == SO_EE_ORIGIN_LOCAL)
        return icmp->mtu != 0;
    if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6)
        return 0;
    if (error.ee_errno == EMSGSIZE)
        icmp->kind = TW_ICMP_TOO_BIG;
    else
        icmp->kind =
            error.ee_origin == SO_EE_ORIGIN_ICMP ? kind_of_icmp4(&error) : kind_of_icmp6(&error);
    return 1;
}

int tw_cmsg_parse_icmp(const uint8_t *control, size_t length, struct tw_icmp_error *icmp)
{
    struct cmsghdr header;
    const uint8_t *octets;
    size_t offset = 0;
    int known = 0;

    *icmp = (struct tw_icmp_error){0};
    while (!known && next_control(control, length, &offset, &header, &octets))
        known = read_icmp(&header, octets, icmp);
    return known;
}

int tw_cmsg_read_icmp(struct msghdr *message, struct tw_icmp_error *icmp)
{
    return tw_cmsg_parse_icmp(message->msg_control, message->msg_controllen, icmp);
}

int tw_cmsg_read_departure(struct msghdr *message, struct tw_departure *departure)
{
    if (message->msg_flags & MSG_CTRUNC)
        return 0;
    return tw_cmsg_parse_departure(message->msg_control, message->msg_controllen, departure);
}
