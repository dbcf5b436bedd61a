/* options.c: the options of a UDP socket, and what the kernel says of its buffer. */
#include "kernel/options.h"
#include "kernel/missing.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>
#include <linux/net_tstamp.h>
#include <linux/sock_diag.h>

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

/* Only what is no UDP socket of that IP version is an error; an option that the kernel lacks costs
 * the value it would have given (TTL 255, DSCP 0, a smaller buffer), not the session. */
int tw_options_prepare(int fd, int ip_version, uint32_t receive_buffer, uint8_t ttl)
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

uint32_t tw_options_receive_buffer(int fd)
{
    int doubled = 0;
    socklen_t length = sizeof doubled;

    (void)!getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &doubled, &length); /* unknown: 0 */
    return doubled > 0 ? (uint32_t)doubled / 2 : 0;
}

uint32_t tw_options_overflows(int fd)
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

int tw_options_stamp_receive(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
}

int tw_options_stamp_asked(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_options_stamp_hardware(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE |
                                SOF_TIMESTAMPING_OPT_PKTINFO | SOF_TIMESTAMPING_OPT_ID |
                                SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_options_stamp_nothing(int fd)
{
    return set_stamping(fd, 0);
}

int tw_options_stamp_both(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                                SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_options_stamp_everything(int fd)
{
    return set_stamping(fd, SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                                SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_HARDWARE |
                                SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE |
                                SOF_TIMESTAMPING_OPT_TX_SWHW | SOF_TIMESTAMPING_OPT_PKTINFO |
                                SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY);
}

int tw_options_set_dscp(int fd, int ip_version, uint8_t dscp)
{
    const int tos = dscp << 2; /* ECN: Not-ECT */

    return ip_version == 4 ? set_option(fd, IPPROTO_IP, IP_TOS, tos)
                           : set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
}

int tw_options_report_errors(int fd, int ip_version)
{
    return ip_version == 4 ? set_option(fd, IPPROTO_IP, IP_RECVERR, 1)
                           : set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

int tw_options_forbid_fragments(int fd, int ip_version)
{
    return ip_version == 4 ? set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
                           : set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
}

int tw_options_tell_asked(int fd, int ip_version)
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

int tw_options_keep_stamping(int must)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result;

    if (fd < 0)
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    result = tw_options_stamp_receive(fd);
    if (result < 0 && must) {
        close(fd);
        return result;
    }
    return fd; /* refused: no kernel stamps, and every T2 says so by its source */
}
