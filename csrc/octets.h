/* octets.h: between octets on the wire and numbers; the only way to read a be16, be32 or be64. */
#pragma once
#include "wire.h"

static inline uint16_t tw_get16(be16 field)
{
    return (uint16_t)((unsigned)field.octets[0] << 8 | field.octets[1]);
}

static inline uint32_t tw_get32(be32 field)
{
    return (uint32_t)field.octets[0] << 24 | (uint32_t)field.octets[1] << 16 |
           (uint32_t)field.octets[2] << 8 | field.octets[3];
}

static inline uint64_t tw_get64(be64 field)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | field.octets[i];
    return value;
}

static inline be16 tw_put16(uint16_t value)
{
    return (be16){{(uint8_t)(value >> 8), (uint8_t)value}};
}

static inline be32 tw_put32(uint32_t value)
{
    return (be32){
        {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}};
}

static inline be64 tw_put64(uint64_t value)
{
    be64 field;
    for (int i = 7; i >= 0; i--, value >>= 8)
        field.octets[i] = (uint8_t)value;
    return field;
}
