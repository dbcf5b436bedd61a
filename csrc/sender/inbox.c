/* inbox.c: replies and transmit stamps are read in batches; a call only resets what the kernel
 * changed in the headers. */
#include "sender/inbox.h"
#include "kernel/clock.h"

#include <errno.h>

static void empty(struct tw_inbox *inbox, int used)
{
    for (int i = 0; i < used; i++) {
        struct msghdr *message = &inbox->messages[i].msg_hdr;

        message->msg_namelen = sizeof inbox->sources[i];
        message->msg_controllen = sizeof inbox->cmsgs[i];
    }
}

void tw_inbox_open(struct tw_inbox *inbox)
{
    for (int i = 0; i < TW_BATCH; i++) {
        inbox->vectors[i] = (struct iovec){inbox->packets[i], sizeof inbox->packets[i]};
        inbox->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &inbox->sources[i],
            .msg_iov = &inbox->vectors[i],
            .msg_iovlen = 1,
            .msg_control = inbox->cmsgs[i],
        };
    }
    empty(inbox, TW_BATCH);
}

int tw_inbox_read_departures(struct tw_inbox *inbox, int fd, struct tw_samples *samples)
{
    const int read = recvmmsg(fd, inbox->messages, TW_BATCH, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
    const uint64_t now_ns = read > 0 ? tw_clock_unix_ns() : 0;

    for (int i = 0; i < read; i++) {
        struct msghdr *message = &inbox->messages[i].msg_hdr;
        struct tw_departure departure;
        struct tw_icmp_error icmp;

        if (tw_cmsg_read_departure(message, &departure))
            tw_samples_departure(samples, &departure, now_ns);
        else if (tw_cmsg_read_icmp(message, &icmp))
            tw_samples_icmp(samples, &icmp);
    }
    empty(inbox, read);
    return read < 0 ? 0 : read;
}

int tw_inbox_read_replies(struct tw_inbox *inbox, int fd, struct tw_samples *samples)
{
    int read = recvmmsg(fd, inbox->messages, TW_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
    uint64_t now_ns;

    if (read < 0 && errno != EAGAIN) /* an ICMP error, which is told once */
        read = recvmmsg(fd, inbox->messages, TW_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
    now_ns = tw_clock_unix_ns();
    for (int i = 0; i < read; i++) {
        struct tw_arrived arrived = {
            .packet = inbox->packets[i],
            .length = inbox->messages[i].msg_len,
            .now_ns = now_ns,
        };

        tw_address_to_endpoint(&inbox->sources[i], &arrived.source);
        tw_cmsg_read_arrival(&inbox->messages[i].msg_hdr, &arrived.rx);
        tw_samples_arrival(samples, &arrived);
    }
    empty(inbox, read);
    return read < 0 ? 0 : read;
}
