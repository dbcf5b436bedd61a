/* clients.h: a list of prefixes that a client is in or not.  It does not change: a new one takes
 * its place. */
#pragma once
#include "api/twamp.h"

struct tw_clients;

/* 0 and the list, or -errno.  No prefix at all makes NULL, in which everybody is. */
int tw_clients_open(const struct tw_prefix *prefixes, uint32_t count, struct tw_clients **clients);
void tw_clients_close(struct tw_clients *clients);
int tw_clients_have(const struct tw_clients *clients, const struct tw_endpoint *client);
