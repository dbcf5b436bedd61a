/* index_test.c: the index against a table that is searched from end to end, over many random steps.
 * Prints each claim that does not hold, or that too little was tried. */
#include "claim.h"
#include "reflector/index.h"

#include <string.h>

#define ROWS  64 /* the index has 128 slots: chains form and wrap around all the time */
#define STEPS 400000

struct entry {
    struct tw_index_key key;
    int used;
};

static uint64_t state = 20180;

static uint32_t below(uint32_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % bound;
}

/* Few enough that the same ones come back, and alike in all but one field. */
static struct tw_index_key any_key(void)
{
    struct tw_endpoint endpoint = {.ip_version = below(2) ? 4 : 6};

    endpoint.address[below(2) ? 3 : 15] = (uint8_t)below(8);
    endpoint.port = (uint16_t)(1000 + below(2));
    return tw_index_key(&endpoint, below(2));
}

static uint32_t search(const struct entry *table, const struct tw_index_key *key)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        if (table[row].used && memcmp(&table[row].key, key, sizeof *key) == 0)
            return row;
    }
    return TW_INDEX_NONE;
}

static uint32_t free_row(const struct entry *table)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        if (!table[row].used)
            return row;
    }
    return TW_INDEX_NONE;
}

static void run(uint64_t seed)
{
    struct entry table[ROWS] = {0};
    struct tw_index index;
    uint32_t found = 0, inserted = 0, erased = 0, full = 0;

    CLAIM(tw_index_open(&index, ROWS, seed) == 0);
    for (int step = 0; step < STEPS && !failures; step++) {
        const struct tw_index_key key = any_key();
        const uint32_t row = search(table, &key);
        const uint32_t free = free_row(table);

        CLAIM(tw_index_find(&index, &key) == row);
        found += row != TW_INDEX_NONE;
        full += free == TW_INDEX_NONE;
        /* Long runs of growth and long runs of decay. */
        if (row == TW_INDEX_NONE && free != TW_INDEX_NONE && (step / 2000 % 2 || !below(3))) {
            table[free] = (struct entry){.key = key, .used = 1};
            tw_index_insert(&index, &key, free);
            inserted++;
        } else if (row != TW_INDEX_NONE && (!(step / 2000 % 2) || !below(3))) {
            table[row].used = 0;
            tw_index_erase(&index, &key);
            erased++;
        } else if (row == TW_INDEX_NONE) {
            tw_index_erase(&index, &key); /* of what is not there: nothing happens */
        }
    }
    CLAIM(found > 10000 && inserted > 10000 && erased > 10000 && full > 100);
    tw_index_close(&index);
}

int main(void)
{
    for (uint64_t seed = 0; seed < 5; seed++)
        run(seed * 0x123456789abcdefu);
    return failures != 0;
}
