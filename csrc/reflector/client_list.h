/* client_list.h: a list of prefixes that a client is in or not.  It does not change: a new one
 * takes its place. */
#pragma once
#include "api/reflector.h"

struct tw_client_list;

/* 0 and the list, or -errno.  No prefix at all makes NULL, in which everybody is. */
int tw_client_list_open(const struct tw_prefix *prefixes, uint32_t count,
                        struct tw_client_list **clients);
void tw_client_list_close(struct tw_client_list *clients);
int tw_client_list_have(const struct tw_client_list *clients, const struct tw_endpoint *client);
