/* index.c: a hash with open addressing, linear probing and deletion by shifting back. */
#include "reflector/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ODD_1 0x9e3779b97f4a7c15u /* 2^64 / the golden ratio */
#define ODD_2 0xc2b2ae3d27d4eb4fu

struct tw_index_slot {
    struct tw_index_key key;
    uint32_t hash;
    uint32_t row_after; /* row + 1; 0 = empty, so that fresh memory needs no touch */
};

_Static_assert(sizeof(struct tw_index_key) == 3 * sizeof(uint64_t), "compared and hashed whole");

static uint64_t fold(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Both factors carry a secret: no address that a peer can choose makes the product zero. */
uint32_t tw_index_hash(const uint64_t secrets[2], const struct tw_index_key *key)
{
    uint64_t words[3];
    uint64_t state;

    memcpy(words, key, sizeof words);
    state = fold(words[0] ^ secrets[0], words[1] ^ secrets[1]);
    return (uint32_t)fold(state ^ secrets[1], words[2] ^ secrets[0]);
}

void tw_index_secrets(uint64_t seed, uint64_t secrets[2])
{
    secrets[0] = fold(seed ^ ODD_1, ODD_2);
    secrets[1] = fold(seed ^ ODD_2, ODD_1) ^ seed;
}

static uint32_t hash_of(const struct tw_index *index, const struct tw_index_key *key)
{
    return tw_index_hash(index->secrets, key);
}

int tw_index_open(struct tw_index *index, uint32_t size, uint64_t seed)
{
    uint32_t slots = 4;

    while (slots < 2 * size) /* never more than half full */
        slots *= 2;
    tw_index_secrets(seed, index->secrets);
    index->mask = slots - 1;
    index->slots = calloc(slots, sizeof *index->slots);
    return index->slots == NULL ? -ENOMEM : 0;
}

void tw_index_close(struct tw_index *index)
{
    free(index->slots);
    index->slots = NULL;
}

struct tw_index_key tw_index_key(const struct tw_endpoint *endpoint, uint32_t scope)
{
    struct tw_index_key key = {
        .scope = scope, .port = endpoint->port, .ip_version = endpoint->ip_version};

    memcpy(key.address, endpoint->address, sizeof key.address);
    return key;
}

/* The slot of the key, or the empty one where it would go. */
static uint32_t slot_of(const struct tw_index *index, const struct tw_index_key *key, uint32_t hash)
{
    uint32_t at = hash & index->mask;

    while (index->slots[at].row_after != 0) {
        const struct tw_index_slot *slot = &index->slots[at];
        if (slot->hash == hash && memcmp(&slot->key, key, sizeof *key) == 0)
            break;
        at = (at + 1) & index->mask;
    }
    return at;
}

uint32_t tw_index_find(const struct tw_index *index, const struct tw_index_key *key)
{
    /* 0 - 1 is TW_INDEX_NONE */
    return index->slots[slot_of(index, key, hash_of(index, key))].row_after - 1;
}

void tw_index_insert(struct tw_index *index, const struct tw_index_key *key, uint32_t row)
{
    const uint32_t hash = hash_of(index, key);
    struct tw_index_slot *slot = &index->slots[slot_of(index, key, hash)];

    *slot = (struct tw_index_slot){.key = *key, .hash = hash, .row_after = row + 1};
}

void tw_index_erase(struct tw_index *index, const struct tw_index_key *key)
{
    const uint32_t mask = index->mask;
    uint32_t hole = slot_of(index, key, hash_of(index, key));
    uint32_t next = hole;

    if (index->slots[hole].row_after == 0)
        return;
    /* Whoever stands behind the hole and is at home at or before it moves in. */
    while (index->slots[next = (next + 1) & mask].row_after != 0) {
        const uint32_t home = index->slots[next].hash & mask;
        if (((next - home) & mask) < ((next - hole) & mask))
            continue;
        index->slots[hole] = index->slots[next];
        hole = next;
    }
    index->slots[hole].row_after = 0;
}
