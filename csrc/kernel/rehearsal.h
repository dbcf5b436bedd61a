/* rehearsal.h: a send that nobody sees, right before one that matters.  After a pause the code and
 * the tables that a send needs have left the processor's caches, and how long it takes to the
 * device varies by 10 us and more.  A rehearsal fetches them: it looks up the route to the peer,
 * and the caller sends the same octets, from the same socket, to the machine itself, to a socket
 * that throws them away.  Nothing leaves the machine. */
#pragma once
#include "kernel/mmsg.h" /* first: it asks for _GNU_SOURCE */

/* A socket that hears loopback alone. */
struct tw_audience {
    union tw_sockaddr name; /* what is sent to it is addressed to, but for IPv6's own address */
    int fd;
    int is_open;
    int is_usable;
    int missed; /* rehearsals in a row of which it heard nothing */
};

struct tw_rehearsal {
    struct tw_audience audiences[2]; /* of IPv4 and of IPv6 */
};

/* Where that cannot be, nothing is rehearsed. */
void tw_rehearsal_open(struct tw_rehearsal *rehearsal);
void tw_rehearsal_close(struct tw_rehearsal *rehearsal);
/* Looks up the route that message will take from fd, and turns it to the audience, to be sent as it
 * stands; 0 = this one is not to be rehearsed, and is as it was. */
int tw_rehearsal_begin(struct tw_rehearsal *rehearsal, int fd, struct msghdr *message);
/* After it was sent: the audience forgets it.  The caller turns message back. */
void tw_rehearsal_end(struct tw_rehearsal *rehearsal, const struct msghdr *message);
