/* crypto.h: the protection of the test packets of one session (RFC 4656 section 4.1.2, RFC 5357
 * section 4.2.1): keys scheduled once, used for every packet by one thread at a time. */
#pragma once
#include "api/types.h"

struct tw_cipher;

/* NULL: no memory, or a mode without protection.  Wipes nothing of the caller's. */
struct tw_cipher *tw_crypto_open(uint8_t mode, const struct tw_test_keys *keys);
void tw_crypto_close(struct tw_cipher *cipher); /* wipes the keys; NULL is fine */

/* A list of ciphers that another thread may still be using, to be closed when it no longer does. */
void tw_crypto_retire(struct tw_cipher **list, struct tw_cipher *cipher);
void tw_crypto_close_retired(struct tw_cipher **list);

int tw_crypto_mode(const struct tw_cipher *cipher);

/* Decrypt in place and verify: 1, or 0 for a wrong HMAC.  packet holds the whole header. */
int tw_crypto_unseal_request(struct tw_cipher *cipher, uint8_t *packet);
int tw_crypto_unseal_reply(struct tw_cipher *cipher, uint8_t *packet);

/* HMAC, then encrypt, in place.  In authenticated mode the timestamps are not touched. */
void tw_crypto_seal_request(struct tw_cipher *cipher, uint8_t *packet);
void tw_crypto_seal_reply(struct tw_cipher *cipher, uint8_t *packet);
