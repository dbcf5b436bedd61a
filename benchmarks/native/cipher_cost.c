/* cipher_cost.c: CPU ns for what libcrypto has to do for one reflected packet, without sockets: the
 * request unsealed, the reply sealed.  Usage: cipher_cost MODE COUNT.  Prints ns per packet. */
#include "packet/crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LENGTH 112

static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    const struct tw_test_keys keys = {.aes = {1}, .hmac = {2}};
    uint8_t sealed[LENGTH] = {0};
    struct tw_cipher *cipher;
    unsigned long count, good = 0;
    uint64_t begin;

    if (argc != 3)
        return 2;
    cipher = tw_crypto_open((uint8_t)strtoul(argv[1], NULL, 10), &keys);
    count = strtoul(argv[2], NULL, 10);
    if (cipher == NULL || count == 0)
        return 2;
    tw_crypto_seal_request(cipher, sealed);
    begin = cpu_ns();
    for (unsigned long i = 0; i < count; i++) {
        uint8_t request[LENGTH], reply[LENGTH] = {0};

        memcpy(request, sealed, sizeof request);
        good += (unsigned long)tw_crypto_unseal_request(cipher, request);
        tw_crypto_seal_reply(cipher, reply);
    }
    printf("%.1f\n", (double)(cpu_ns() - begin) / (double)count);
    tw_crypto_close(cipher);
    return good == count ? 0 : 1;
}
