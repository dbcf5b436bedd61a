/* index.h: an address, a port and a scope -> the row of a table.  Open addressing with a seeded
 * hash; nothing is allocated after open, and an erased entry leaves no tombstone. */
#pragma once
#include "api/types.h"

#define TW_INDEX_NONE UINT32_MAX

struct tw_index_key {
    uint8_t address[16];
    uint32_t scope; /* tells equal addresses apart: a peer's socket, or the interface */
    uint16_t port;
    uint16_t ip_version;
};

struct tw_index {
    struct tw_index_slot *slots;
    uint64_t secrets[2];
    uint32_t mask;
};

/* Room for size entries, 1..2^20; the caller keeps to it. */
int tw_index_open(struct tw_index *index, uint32_t size, uint64_t seed);
/* The hash and what it is seeded with, for tables of another kind. */
void tw_index_secrets(uint64_t seed, uint64_t secrets[2]);
uint32_t tw_index_hash(const uint64_t secrets[2], const struct tw_index_key *key);
void tw_index_close(struct tw_index *index);
struct tw_index_key tw_index_key(const struct tw_endpoint *endpoint, uint32_t scope);
uint32_t tw_index_find(const struct tw_index *index, const struct tw_index_key *key);
void tw_index_insert(struct tw_index *index, const struct tw_index_key *key, uint32_t row);
void tw_index_erase(struct tw_index *index, const struct tw_index_key *key);
