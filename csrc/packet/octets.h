/* octets.h: between octets on the wire and numbers; the only way to read a be16, be32 or be64.
 * Copied and swapped, which compilers make one instruction of; octet by octet they do not.
 * Needs no library, so BPF may include it. */
#pragma once
#include "packet/wire.h"

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define TW_SWAP16(value) (value)
#define TW_SWAP32(value) (value)
#define TW_SWAP64(value) (value)
#else
#define TW_SWAP16(value) __builtin_bswap16(value)
#define TW_SWAP32(value) __builtin_bswap32(value)
#define TW_SWAP64(value) __builtin_bswap64(value)
#endif

/* At any alignment. */
static inline uint16_t tw_read16(const uint8_t *octets)
{
    uint16_t value;

    __builtin_memcpy(&value, octets, sizeof value);
    return TW_SWAP16(value);
}

static inline uint32_t tw_read32(const uint8_t *octets)
{
    uint32_t value;

    __builtin_memcpy(&value, octets, sizeof value);
    return TW_SWAP32(value);
}

static inline uint64_t tw_read64(const uint8_t *octets)
{
    uint64_t value;

    __builtin_memcpy(&value, octets, sizeof value);
    return TW_SWAP64(value);
}

static inline void tw_write16(uint8_t *octets, uint16_t value)
{
    const uint16_t swapped = TW_SWAP16(value);

    __builtin_memcpy(octets, &swapped, sizeof swapped);
}

static inline void tw_write32(uint8_t *octets, uint32_t value)
{
    const uint32_t swapped = TW_SWAP32(value);

    __builtin_memcpy(octets, &swapped, sizeof swapped);
}

static inline void tw_write64(uint8_t *octets, uint64_t value)
{
    const uint64_t swapped = TW_SWAP64(value);

    __builtin_memcpy(octets, &swapped, sizeof swapped);
}

static inline uint16_t tw_get16(be16 field)
{
    return tw_read16(field.octets);
}

static inline uint32_t tw_get32(be32 field)
{
    return tw_read32(field.octets);
}

static inline uint64_t tw_get64(be64 field)
{
    return tw_read64(field.octets);
}

static inline be16 tw_put16(uint16_t value)
{
    be16 field;

    tw_write16(field.octets, value);
    return field;
}

static inline be32 tw_put32(uint32_t value)
{
    be32 field;

    tw_write32(field.octets, value);
    return field;
}

static inline be64 tw_put64(uint64_t value)
{
    be64 field;

    tw_write64(field.octets, value);
    return field;
}
