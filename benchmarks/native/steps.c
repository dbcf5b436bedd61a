/* steps.c: the Session-Reflector's loop, step by step, for whoever counts its instructions.
 * Usage: steps MODE LENGTH BATCH PACKETS TX_BATCH: enum tw_mode; octets of a test packet; packets
 * that wait when a step begins; how many in all; replies under one T3, 0 = segments.
 * Ends with 0 when every packet was answered. */
#include "api/clock.h"
#include "api/cmsg.h"
#include "api/reflect.h"
#include "api/reflector.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONGEST        1472
#define MOST           64
#define ERROR_ESTIMATE 13 /* offset of its Multiplier, which is never 0 */
#define ERROR_SECURED  25
#define RECEIVE_BUFFER (1 << 20)
#define A_SECOND_NS    1000000000u /* a budget that is never used up: nothing depends on time */

static int open_socket(struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t length = sizeof *address;

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof *address) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        return -1;
    return fd;
}

static struct tw_endpoint endpoint_of(const struct sockaddr_in *address)
{
    struct tw_endpoint endpoint = {.port = ntohs(address->sin_port), .ip_version = 4};

    memcpy(endpoint.address, &address->sin_addr, sizeof address->sin_addr);
    return endpoint;
}

/* One batch there and back; 0 when all of it came back. */
static int exchange(struct tw_reflector *reflector, int client, const uint8_t *packet,
                    size_t length, int batch)
{
    uint8_t reply[LONGEST];

    for (int i = 0; i < batch; i++) {
        if (send(client, packet, length, 0) < 0)
            return -1;
    }
    for (int answered = 0; answered < batch;) {
        const int packets = tw_reflector_step(reflector, 0);

        if (packets <= 0)
            return -1;
        answered += packets;
    }
    for (int i = 0; i < batch; i++) {
        if (recv(client, reply, sizeof reply, MSG_DONTWAIT) < 0)
            return -1;
    }
    return 0;
}

static int64_t add(struct tw_reflector *reflector, const struct sockaddr_in *local,
                   const struct sockaddr_in *peer, uint8_t mode, int fd)
{
    const struct tw_session_config config = {
        .local = endpoint_of(local), .peer = endpoint_of(peer), .mode = mode};
    const int64_t id = tw_reflector_add(reflector, &config, fd);

    return id < 0 ? id : tw_reflector_start(reflector, id);
}

int main(int argc, char **argv)
{
    uint8_t packet[LONGEST] = {0};
    unsigned long numbers[5];
    struct sockaddr_in local, peer;
    struct tw_reflector_config config = {
        .maximum_sessions = 16, .receive_buffer = RECEIVE_BUFFER, .t3_budget_ns = A_SECOND_NS};
    struct tw_reflector *reflector;
    const struct tw_test_keys keys = {0};
    int port, client;

    if (argc != 6)
        return 2;
    for (int i = 0; i < 5; i++)
        numbers[i] = strtoul(argv[i + 1], NULL, 10);
    if (numbers[1] > LONGEST || numbers[2] < 1 || numbers[2] > MOST)
        return 2;
    port = open_socket(&local);
    client = open_socket(&peer);
    config.tx_batch = (uint32_t)numbers[4];
    if (port < 0 || client < 0 || tw_reflector_open(&config, &reflector) < 0 ||
        add(reflector, &local, &peer, (uint8_t)numbers[0], port) < 0 ||
        connect(client, (struct sockaddr *)&local, sizeof local) < 0) {
        perror("steps");
        return 2;
    }
    packet[numbers[0] == TW_MODE_UNAUTHENTICATED ? ERROR_ESTIMATE : ERROR_SECURED] = 1;
    if (numbers[0] != TW_MODE_UNAUTHENTICATED &&
        tw_crypto_packet((uint8_t)numbers[0], &keys, 0, 1, packet) < 0)
        return 2;
    for (unsigned long done = 0; done < numbers[3]; done += numbers[2]) {
        if (exchange(reflector, client, packet, numbers[1], (int)numbers[2]) < 0) {
            fprintf(stderr, "steps: a packet was not answered\n");
            return 1;
        }
    }
    tw_reflector_close(reflector);
    close(port);
    close(client);
    return 0;
}
