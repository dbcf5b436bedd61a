/* address.h: addresses as system calls take them. */
#pragma once
#include "api/types.h"

#include <netinet/in.h>
#include <sys/socket.h>

union tw_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Writes the address of endpoint; returns its length. */
socklen_t tw_address_from_endpoint(const struct tw_endpoint *endpoint, union tw_sockaddr *address);
/* The way back: 0, or -EAFNOSUPPORT for an address that is not IP. */
int tw_address_to_endpoint(const union tw_sockaddr *address, struct tw_endpoint *endpoint);
