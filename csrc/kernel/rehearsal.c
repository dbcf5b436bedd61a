/* rehearsal.c: see rehearsal.h.  To the address 0.0.0.0 is to the own address, over loopback, on
 * whatever device the socket is bound to; IPv6 has nothing like it. */
#include "kernel/rehearsal.h"
#include "kernel/missing.h"

#include <unistd.h>

#define MOST_MISSED 16 /* then somebody filters loopback: it is not asked again */

/* Nobody outside can send to it. */
static int bind_to_loopback(struct tw_audience *audience, int ip_version)
{
    static const char device[] = "lo";
    const struct tw_endpoint any = {.ip_version = (uint8_t)ip_version};
    socklen_t length = tw_address_from_endpoint(&any, &audience->name);

    return setsockopt(audience->fd, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof device) == 0 &&
           bind(audience->fd, &audience->name.any, length) == 0 &&
           getsockname(audience->fd, &audience->name.any, &length) == 0;
}

/* Whether MSG_PROBE goes all the way but for sending: a probe to itself does not come. */
static int only_probes(struct tw_audience *audience)
{
    const struct msghdr message = {.msg_name = &audience->name,
                                   .msg_namelen = sizeof audience->name};

    return sendmsg(audience->fd, &message, MSG_PROBE | MSG_DONTWAIT) >= 0 &&
           recv(audience->fd, NULL, 0, MSG_DONTWAIT) < 0;
}

void tw_rehearsal_open(struct tw_rehearsal *rehearsal)
{
    for (int i = 0; i < 2; i++) {
        struct tw_audience *audience = &rehearsal->audiences[i];

        audience->fd = socket(i == 0 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        audience->is_open = audience->fd >= 0;
        audience->is_usable = audience->is_open && bind_to_loopback(audience, i == 0 ? 4 : 6) &&
                              only_probes(audience);
    }
}

void tw_rehearsal_close(struct tw_rehearsal *rehearsal)
{
    for (int i = 0; i < 2; i++) {
        if (rehearsal->audiences[i].is_open)
            close(rehearsal->audiences[i].fd);
        rehearsal->audiences[i] = (struct tw_audience){0};
    }
}

static struct tw_audience *audience_of(struct tw_rehearsal *rehearsal, const struct msghdr *message)
{
    const union tw_sockaddr *name = message->msg_name;

    return &rehearsal->audiences[name->any.sa_family == AF_INET6];
}

/* To the own address of fd.  A socket that is bound to a device, by its name or by a link-local
 * address, may have no route to itself but by that. */
static int aim_v6(struct tw_audience *audience, int fd, const struct msghdr *message)
{
    const union tw_sockaddr *peer = message->msg_name;
    const in_port_t port = audience->name.v6.sin6_port;
    socklen_t length = sizeof audience->name;
    socklen_t device_length = sizeof(int);
    int device = 0;

    if (IN6_IS_ADDR_LINKLOCAL(&peer->v6.sin6_addr) ||
        getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &device, &device_length) < 0 || device != 0 ||
        getsockname(fd, &audience->name.any, &length) < 0)
        return 0;
    audience->name.v6.sin6_port = port;
    return 1;
}

int tw_rehearsal_begin(struct tw_rehearsal *rehearsal, int fd, struct msghdr *message)
{
    struct tw_audience *audience = audience_of(rehearsal, message);
    const int is_v6 = audience == &rehearsal->audiences[1];

    if (!audience->is_usable || (is_v6 && !aim_v6(audience, fd, message)))
        return 0;
    (void)!sendmsg(fd, message, MSG_PROBE | MSG_DONTWAIT);
    message->msg_name = &audience->name;
    message->msg_namelen = is_v6 ? sizeof audience->name.v6 : sizeof audience->name.v4;
    return 1;
}

void tw_rehearsal_end(struct tw_rehearsal *rehearsal, const struct msghdr *message)
{
    struct tw_audience *audience = audience_of(rehearsal, message);

    audience->missed = recv(audience->fd, NULL, 0, MSG_DONTWAIT) < 0 ? audience->missed + 1 : 0;
    if (audience->missed >= MOST_MISSED)
        audience->is_usable = 0;
}
