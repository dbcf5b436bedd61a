/* sort.c: a radix sort from the least digit on.  A digit in which no two keys differ costs nothing,
 * so delays within a millisecond of each other take two passes. */
#include "metrics/sort.h"

#include <string.h>

#define DIGIT_BITS 11
#define DIGITS     (1U << DIGIT_BITS)
#define FEW        48 /* keys that are sorted faster by insertion */

static void insert_each(uint64_t *keys, size_t count, uint64_t mask)
{
    for (size_t i = 1; i < count; i++) {
        const uint64_t key = keys[i];
        size_t place = i;

        for (; place > 0 && (keys[place - 1] & mask) > (key & mask); place--)
            keys[place] = keys[place - 1];
        keys[place] = key;
    }
}

/* The bits of mask in which any two keys differ. */
static uint64_t differences(const uint64_t *keys, size_t count, uint64_t mask)
{
    uint64_t found = 0;

    for (size_t i = 1; i < count; i++)
        found |= keys[i] ^ keys[0];
    return found & mask;
}

static void scatter(const uint64_t *from, uint64_t *to, size_t count, uint64_t digit)
{
    const int shift = __builtin_ctzll(digit);
    size_t places[DIGITS] = {0};
    size_t place = 0;

    for (size_t i = 0; i < count; i++)
        places[(from[i] & digit) >> shift]++;
    for (size_t i = 0; i < DIGITS; i++) {
        const size_t of_digit = places[i];

        places[i] = place;
        place += of_digit;
    }
    for (size_t i = 0; i < count; i++)
        to[places[(from[i] & digit) >> shift]++] = from[i];
}

void tw_sort(uint64_t *keys, uint64_t *scratch, size_t count, uint64_t mask)
{
    uint64_t *from = keys;
    uint64_t *to = scratch;

    if (count <= FEW) {
        insert_each(keys, count, mask);
        return;
    }
    for (uint64_t left = differences(keys, count, mask); left != 0;) {
        const uint64_t digit = left & ((uint64_t)(DIGITS - 1) << __builtin_ctzll(left));
        uint64_t *const swapped = from;

        scatter(from, to, count, digit);
        left &= ~digit;
        from = to;
        to = swapped;
    }
    if (from != keys)
        memcpy(keys, from, count * sizeof *keys);
}
