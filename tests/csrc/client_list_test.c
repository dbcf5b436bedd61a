/* clients_test.c: prefixes against a comparison bit by bit, over many random ones.  Prints each
 * claim that does not hold, or that too little was tried. */
#include "claim.h"
#include "reflector/client_list.h"

#include <errno.h>
#include <string.h>

#define LISTS    4000
#define PREFIXES 5
#define ASKED    50

static uint64_t state = 20180;

static uint32_t below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % bound;
}

/* Few bits differ, so that long prefixes match, too. */
static void any_address(uint8_t *address, int ip_version)
{
    const uint32_t octets = ip_version == 4 ? 4 : 16;

    memset(address, 0, 16);
    for (int i = 0; i < 2; i++)
        address[below(octets)] |= (uint8_t)(1u << below(8));
}

static int is_in(const struct tw_prefix *prefix, const struct tw_endpoint *client)
{
    if (prefix->ip_version != client->ip_version)
        return 0;
    for (int bit = 0; bit < prefix->length; bit++) {
        if ((prefix->address[bit / 8] ^ client->address[bit / 8]) & 0x80 >> bit % 8)
            return 0;
    }
    return 1;
}

static void lists_are_what_their_prefixes_are(void)
{
    struct tw_prefix prefixes[PREFIXES];
    struct tw_client_list *clients;
    uint32_t in = 0, out = 0;

    for (int list = 0; list < LISTS && !failures; list++) {
        for (int i = 0; i < PREFIXES; i++) {
            prefixes[i].ip_version = below(2) ? 4 : 6;
            prefixes[i].length = (uint8_t)below(prefixes[i].ip_version == 4 ? 33 : 129);
            any_address(prefixes[i].address, prefixes[i].ip_version);
        }
        CLAIM(tw_client_list_open(prefixes, PREFIXES, &clients) == 0);
        for (int i = 0; i < ASKED; i++) {
            struct tw_endpoint client = {.port = 862, .ip_version = below(2) ? 4 : 6};
            int expected = 0;

            any_address(client.address, client.ip_version);
            for (int p = 0; p < PREFIXES; p++)
                expected |= is_in(&prefixes[p], &client);
            CLAIM(tw_client_list_have(clients, &client) == expected);
            in += (uint32_t)expected;
            out += (uint32_t)!expected;
        }
        tw_client_list_close(clients);
    }
    CLAIM(in > 10000 && out > 10000);
}

static void only_prefixes_make_a_list(void)
{
    static const uint8_t wrong[][2] = {{4, 33}, {6, 129}, {0, 0}, {5, 8}, {255, 0}};
    static const uint8_t right[][2] = {{4, 0}, {4, 32}, {6, 0}, {6, 128}};
    static struct tw_prefix many[TW_LIGHT_CLIENTS_MAX + 1];
    const struct tw_endpoint client = {.ip_version = 4};
    struct tw_prefix pair[2] = {{.ip_version = 4}};
    struct tw_client_list *clients;

    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pair[1] = (struct tw_prefix){.ip_version = wrong[i][0], .length = wrong[i][1]};
        CLAIM(tw_client_list_open(pair, 2, &clients) == -EINVAL && clients == NULL);
    }
    for (unsigned i = 0; i < sizeof right / sizeof *right; i++) {
        pair[1] = (struct tw_prefix){.ip_version = right[i][0], .length = right[i][1]};
        CLAIM(tw_client_list_open(pair, 2, &clients) == 0);
        tw_client_list_close(clients);
    }
    for (int i = 0; i <= TW_LIGHT_CLIENTS_MAX; i++)
        many[i] = (struct tw_prefix){.ip_version = i < TW_LIGHT_CLIENTS_MAX - 1 ? 6 : 4};
    CLAIM(tw_client_list_open(many, TW_LIGHT_CLIENTS_MAX + 1, &clients) == -EINVAL);
    CLAIM(tw_client_list_open(many, TW_LIGHT_CLIENTS_MAX, &clients) == 0);
    CLAIM(tw_client_list_have(clients, &client)); /* by the last one */
    tw_client_list_close(clients);
}

static void no_list_is_everybody(void)
{
    const struct tw_endpoint client = {.ip_version = 6};
    struct tw_client_list *clients;

    CLAIM(tw_client_list_open(NULL, 0, &clients) == 0);
    CLAIM(clients == NULL && tw_client_list_have(clients, &client));
    tw_client_list_close(clients);
}

int main(void)
{
    lists_are_what_their_prefixes_are();
    only_prefixes_make_a_list();
    no_list_is_everybody();
    return failures != 0;
}
