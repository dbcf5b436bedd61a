/* address.c: between the addresses of this program and those of the kernel. */
#include "kernel/address.h"

#include <errno.h>
#include <string.h>

socklen_t tw_address_from_endpoint(const struct tw_endpoint *endpoint, union tw_sockaddr *address)
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

int tw_address_to_endpoint(const union tw_sockaddr *address, struct tw_endpoint *endpoint)
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
