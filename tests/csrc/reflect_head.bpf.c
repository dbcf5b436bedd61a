/* reflect_head.bpf.c: the head of a reply in each layout, as a program in the kernel would call it;
 * compiled and not run. */
#include "packet/reflect_head.h"

#define PROGRAM(name, row)                                                                         \
    __attribute__((section("xdp"), used)) int name(                                                \
        const uint8_t *request, size_t length, const struct tw_arrival *arrival, uint8_t *reply);  \
    int name(const uint8_t *request, size_t length, const struct tw_arrival *arrival,              \
             uint8_t *reply)                                                                       \
    {                                                                                              \
        const int dropped = tw_reflect_head(&tw_layouts[row], request, length, arrival, reply);    \
                                                                                                   \
        tw_reflect_head_stamp(&tw_layouts[row], reply, arrival->receive_timestamp);                \
        return dropped;                                                                            \
    }

PROGRAM(unauthenticated, TW_LAYOUT_UNAUTHENTICATED)
PROGRAM(secured, TW_LAYOUT_SECURED)
PROGRAM(light, TW_LAYOUT_LIGHT)
