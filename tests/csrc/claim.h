/* claim.h: what the C tests are written with. */
#pragma once
#include <stdio.h>

static int failures;

#define CLAIM(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #claim);                                     \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)
