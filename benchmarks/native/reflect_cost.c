/* reflect_cost.c: CPU ns for one reflection, or for a bare copy of as many octets.
 * Usage: reflect_cost reflect|copy LENGTH COUNT.  Prints ns per packet. */
#include "api/reflect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLY_HEAD 41
#define PACKETS    64 /* as many as a batch: not one packet alone in the nearest cache */
#define LONGEST    9000

typedef int build(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
                  uint8_t *reply);

static int copy(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
                uint8_t *reply)
{
    const size_t octets = length < REPLY_HEAD ? REPLY_HEAD : length;

    (void)arrival;
    memcpy(reply, request, octets);
    return (int)octets;
}

static int reflect_and_stamp(const uint8_t *request, size_t length,
                             const struct tw_arrival *arrival, uint8_t *reply)
{
    const struct tw_layout *layout = tw_layout(TW_LAYOUT_UNAUTHENTICATED);
    const int octets = tw_reflect(layout, request, length, arrival, reply);

    tw_reflect_stamp(layout, reply, arrival->receive_timestamp);
    return octets;
}

static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static uint8_t requests[PACKETS][LONGEST];
    static uint8_t replies[PACKETS][LONGEST];
    build *volatile chosen; /* volatile: called, not inlined, as from another file */
    struct tw_arrival arrival = {.receive_timestamp = 1, .error_estimate = 1, .sender_ttl = 255};
    uint64_t begin, octets = 0;
    size_t length, count;

    if (argc != 4)
        return 2;
    chosen = strcmp(argv[1], "copy") == 0 ? copy : reflect_and_stamp;
    length = strtoul(argv[2], NULL, 10);
    count = strtoul(argv[3], NULL, 10);
    if (length > LONGEST || count == 0)
        return 2;
    memset(requests, 1, sizeof requests);
    memset(replies, 1, sizeof replies);
    begin = cpu_ns();
    for (size_t i = 0; i < count; i++) {
        arrival.sequence_number = (uint32_t)i;
        octets += (uint64_t)chosen(requests[i % PACKETS], length, &arrival, replies[i % PACKETS]);
    }
    printf("%.3f\n", (double)(cpu_ns() - begin) / (double)count);
    return octets == count * (length < REPLY_HEAD ? REPLY_HEAD : length) ? 0 : 1;
}
