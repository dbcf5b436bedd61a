/* sort.h: stable sorting of 64-bit keys. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Sorts by those bits of a key that are set in mask; scratch has room for count keys, too. */
void tw_sort(uint64_t *keys, uint64_t *scratch, size_t count, uint64_t mask);
