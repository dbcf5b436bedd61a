/* inbox.h: reads replies and transmit stamps into the table of samples. */
#pragma once
#include "kernel/mmsg.h" /* first: it asks for _GNU_SOURCE */
#include "sender/samples.h"

/* Room for one recvmmsg; of a reply only the head is copied, MSG_TRUNC tells its true length. */
struct tw_inbox {
    struct mmsghdr messages[TW_BATCH];
    struct iovec vectors[TW_BATCH];
    union tw_sockaddr sources[TW_BATCH];
    _Alignas(struct cmsghdr) uint8_t cmsgs[TW_BATCH][TW_CMSG_OCTETS];
    uint8_t packets[TW_BATCH][TW_REPLY_HEAD];
};

void tw_inbox_open(struct tw_inbox *inbox);
/* Both return the messages read, at most TW_BATCH. */
int tw_inbox_read_departures(struct tw_inbox *inbox, int fd, struct tw_samples *samples);
int tw_inbox_read_replies(struct tw_inbox *inbox, int fd, struct tw_samples *samples);
