/* reflect.c: RFC 5357 section 4.2.1: one packet in, one packet out, in any layout.
 * Pure: no clock, no socket, no state.  twamp/protocol/reflect.py is the same, to be read. */
#include "packet/reflect_head.h"

#include <string.h>

const struct tw_layout *tw_layout(enum tw_layout_row row)
{
    return &tw_layouts[row];
}

static inline __attribute__((always_inline)) int reflect(const struct tw_layout *layout,
                                                         const uint8_t *request, size_t length,
                                                         const struct tw_arrival *arrival,
                                                         uint8_t *reply)
{
    const size_t head = layout->reply_octets;
    const int dropped = tw_reflect_head(layout, request, length, arrival, reply);

    if (dropped < 0)
        return dropped;
    if (length <= head)
        return (int)head;

    /* As long as the request: its first padding octets stay, its last ones go. */
    memcpy(reply + head, request + layout->request_octets, length - head);
    return (int)length;
}

int tw_reflect(const struct tw_layout *layout, const uint8_t *request, size_t length,
               const struct tw_arrival *arrival, uint8_t *reply)
{
    /* The last line would do; of a row that it knows the compiler makes constants, at half the
     * price. */
    if (layout == &tw_layouts[TW_LAYOUT_UNAUTHENTICATED])
        return reflect(&tw_layouts[TW_LAYOUT_UNAUTHENTICATED], request, length, arrival, reply);
    if (layout == &tw_layouts[TW_LAYOUT_LIGHT])
        return reflect(&tw_layouts[TW_LAYOUT_LIGHT], request, length, arrival, reply);
    if (layout == &tw_layouts[TW_LAYOUT_SECURED])
        return reflect(&tw_layouts[TW_LAYOUT_SECURED], request, length, arrival, reply);
    return reflect(layout, request, length, arrival, reply);
}

void tw_reflect_stamp(const struct tw_layout *layout, uint8_t *reply, uint64_t timestamp)
{
    tw_reflect_head_stamp(layout, reply, timestamp);
}
