/* octets.h: between octets on the wire and numbers; the only way to read a be16, be32 or be64.
 * Copied and swapped, which compilers make one instruction of; octet by octet they do not. */
#pragma once
#include "packet/wire.h"

#include <string.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define TW_SWAP16(value) (value)
#define TW_SWAP32(value) (value)
#define TW_SWAP64(value) (value)
#else
#define TW_SWAP16(value) __builtin_bswap16(value)
#define TW_SWAP32(value) __builtin_bswap32(value)
#define TW_SWAP64(value) __builtin_bswap64(value)
#endif

static inline uint16_t tw_get16(be16 field)
{
    uint16_t value;

    memcpy(&value, field.octets, sizeof value);
    return TW_SWAP16(value);
}

static inline uint32_t tw_get32(be32 field)
{
    uint32_t value;

    memcpy(&value, field.octets, sizeof value);
    return TW_SWAP32(value);
}

static inline uint64_t tw_get64(be64 field)
{
    uint64_t value;

    memcpy(&value, field.octets, sizeof value);
    return TW_SWAP64(value);
}

static inline be16 tw_put16(uint16_t value)
{
    const uint16_t swapped = TW_SWAP16(value);
    be16 field;

    memcpy(field.octets, &swapped, sizeof swapped);
    return field;
}

static inline be32 tw_put32(uint32_t value)
{
    const uint32_t swapped = TW_SWAP32(value);
    be32 field;

    memcpy(field.octets, &swapped, sizeof swapped);
    return field;
}

static inline be64 tw_put64(uint64_t value)
{
    const uint64_t swapped = TW_SWAP64(value);
    be64 field;

    memcpy(field.octets, &swapped, sizeof swapped);
    return field;
}
