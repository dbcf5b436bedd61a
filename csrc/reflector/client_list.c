/* client_list.c: prefixes as words and masks, so that each is a comparison of two words. */
#include "reflector/client_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 2

struct network {
    uint64_t address[WORDS]; /* the octets as they stand, those beyond the prefix zero */
    uint64_t mask[WORDS];
    uint8_t ip_version;
};

struct tw_client_list {
    uint32_t count;
    struct network networks[];
};

static int read_prefix(const struct tw_prefix *prefix, struct network *network)
{
    uint8_t mask[16] = {0};

    if (!(prefix->ip_version == 4 && prefix->length <= 32) &&
        !(prefix->ip_version == 6 && prefix->length <= 128))
        return -EINVAL;
    for (int bit = 0; bit < prefix->length; bit++)
        mask[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    memcpy(network->mask, mask, sizeof mask);
    memcpy(network->address, prefix->address, sizeof prefix->address);
    for (int i = 0; i < WORDS; i++)
        network->address[i] &= network->mask[i];
    network->ip_version = prefix->ip_version;
    return 0;
}

int tw_client_list_open(const struct tw_prefix *prefixes, uint32_t count,
                        struct tw_client_list **clients)
{
    struct tw_client_list *opened;

    *clients = NULL;
    if (count == 0)
        return 0;
    if (count > TW_LIGHT_CLIENTS_MAX)
        return -EINVAL;
    opened = malloc(sizeof *opened + count * sizeof opened->networks[0]);
    if (opened == NULL)
        return -ENOMEM;
    opened->count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (read_prefix(&prefixes[i], &opened->networks[i]) < 0) {
            free(opened);
            return -EINVAL;
        }
    }
    *clients = opened;
    return 0;
}

void tw_client_list_close(struct tw_client_list *clients)
{
    free(clients);
}

int tw_client_list_have(const struct tw_client_list *clients, const struct tw_endpoint *client)
{
    uint64_t address[WORDS];

    if (clients == NULL)
        return 1;
    memcpy(address, client->address, sizeof address);
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct network *network = &clients->networks[i];

        if ((address[0] & network->mask[0]) == network->address[0] &&
            (address[1] & network->mask[1]) == network->address[1] &&
            client->ip_version == network->ip_version)
            return 1;
    }
    return 0;
}
