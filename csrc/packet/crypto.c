/* crypto.c: test packets sealed and unsealed with libcrypto; the only file that includes it.
 * AES-128-CBC with IV 0 over the protected octets (of one block, that is ECB), HMAC-SHA1 over them
 * in clear.  Everything is made once per session, nothing is allocated or scheduled per packet. */
/* SHA1_* work on a state that is copied by value: EVP's contexts allocate with every copy. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "packet/crypto.h"
#include "api/reflect.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stddef.h>
#include <string.h>

#define BLOCK           16
#define HMAC_OCTETS     16 /* of 20: RFC 4656 section 3.2 */
#define SHA1_BLOCK      64
#define REQUEST_HMAC_AT 32
#define REPLY_HMAC_AT   96

struct tw_cipher {
    struct tw_cipher *next; /* among the retired */
    EVP_CIPHER_CTX *encryptor;
    EVP_CIPHER_CTX *decryptor;
    SHA_CTX inner; /* HMAC's two states behind the key (RFC 2104) */
    SHA_CTX outer;
    uint8_t mode;
    uint8_t request_octets; /* protected of a Session-Sender's packet */
    uint8_t reply_octets;
};

static EVP_CIPHER_CTX *schedule(const uint8_t *key, int encrypt)
{
    static const uint8_t iv[BLOCK];
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (context == NULL)
        return NULL;
    if (EVP_CipherInit_ex(context, EVP_aes_128_cbc(), NULL, key, iv, encrypt) != 1 ||
        EVP_CIPHER_CTX_set_padding(context, 0) != 1) {
        EVP_CIPHER_CTX_free(context);
        return NULL;
    }
    return context;
}

static void begin_hmac(SHA_CTX *state, const uint8_t key[32], uint8_t pad)
{
    uint8_t block[SHA1_BLOCK];

    memset(block, pad, sizeof block);
    for (size_t i = 0; i < 32; i++)
        block[i] ^= key[i];
    SHA1_Init(state);
    SHA1_Update(state, block, sizeof block);
    OPENSSL_cleanse(block, sizeof block);
}

struct tw_cipher *tw_crypto_open(uint8_t mode, const struct tw_test_keys *keys)
{
    struct tw_cipher *cipher;

    if (mode != TW_MODE_AUTHENTICATED && mode != TW_MODE_ENCRYPTED)
        return NULL;
    cipher = OPENSSL_zalloc(sizeof *cipher);
    if (cipher == NULL)
        return NULL;
    cipher->mode = mode;
    cipher->request_octets = mode == TW_MODE_ENCRYPTED ? 32 : BLOCK;
    cipher->reply_octets = mode == TW_MODE_ENCRYPTED ? 96 : BLOCK;
    begin_hmac(&cipher->inner, keys->hmac, 0x36);
    begin_hmac(&cipher->outer, keys->hmac, 0x5c);
    cipher->encryptor = schedule(keys->aes, 1);
    cipher->decryptor = schedule(keys->aes, 0);
    if (cipher->encryptor == NULL || cipher->decryptor == NULL) {
        tw_crypto_close(cipher);
        return NULL;
    }
    return cipher;
}

void tw_crypto_close(struct tw_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->encryptor); /* wipes its key schedule */
    EVP_CIPHER_CTX_free(cipher->decryptor);
    OPENSSL_clear_free(cipher, sizeof *cipher);
}

void tw_crypto_retire(struct tw_cipher **list, struct tw_cipher *cipher)
{
    if (cipher == NULL)
        return;
    cipher->next = *list;
    *list = cipher;
}

void tw_crypto_close_retired(struct tw_cipher **list)
{
    while (*list != NULL) {
        struct tw_cipher *cipher = *list;

        *list = cipher->next;
        tw_crypto_close(cipher);
    }
}

int tw_crypto_mode(const struct tw_cipher *cipher)
{
    return cipher->mode;
}

static void hmac(const struct tw_cipher *cipher, const uint8_t *octets, size_t length,
                 uint8_t digest[SHA_DIGEST_LENGTH])
{
    SHA_CTX state = cipher->inner;

    SHA1_Update(&state, octets, length);
    SHA1_Final(digest, &state);
    state = cipher->outer;
    SHA1_Update(&state, digest, SHA_DIGEST_LENGTH);
    SHA1_Final(digest, &state);
}

/* From IV 0, in place; 1, or 0 when libcrypto fails. */
static int crypt(EVP_CIPHER_CTX *context, uint8_t *octets, int length)
{
    static const uint8_t iv[BLOCK];
    int written;

    return EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, -1) == 1 &&
           EVP_CipherUpdate(context, octets, &written, octets, length) == 1 && written == length;
}

static int unseal(struct tw_cipher *cipher, uint8_t *packet, uint8_t protected_octets,
                  size_t hmac_at)
{
    uint8_t digest[SHA_DIGEST_LENGTH];

    if (!crypt(cipher->decryptor, packet, protected_octets))
        return 0;
    hmac(cipher, packet, protected_octets, digest);
    return CRYPTO_memcmp(digest, packet + hmac_at, HMAC_OCTETS) == 0;
}

static void seal(struct tw_cipher *cipher, uint8_t *packet, uint8_t protected_octets,
                 size_t hmac_at)
{
    uint8_t digest[SHA_DIGEST_LENGTH];

    hmac(cipher, packet, protected_octets, digest);
    memcpy(packet + hmac_at, digest, HMAC_OCTETS);
    if (!crypt(cipher->encryptor, packet, protected_octets))
        memset(packet, 0, protected_octets); /* never in clear: the peer will drop it */
}

int tw_crypto_unseal_request(struct tw_cipher *cipher, uint8_t *packet)
{
    return unseal(cipher, packet, cipher->request_octets, REQUEST_HMAC_AT);
}

int tw_crypto_unseal_reply(struct tw_cipher *cipher, uint8_t *packet)
{
    return unseal(cipher, packet, cipher->reply_octets, REPLY_HMAC_AT);
}

void tw_crypto_seal_request(struct tw_cipher *cipher, uint8_t *packet)
{
    seal(cipher, packet, cipher->request_octets, REQUEST_HMAC_AT);
}

void tw_crypto_seal_reply(struct tw_cipher *cipher, uint8_t *packet)
{
    seal(cipher, packet, cipher->reply_octets, REPLY_HMAC_AT);
}

int tw_crypto_packet(uint8_t mode, const struct tw_test_keys *keys, int is_reply, int do_seal,
                     uint8_t *packet)
{
    struct tw_cipher *cipher = tw_crypto_open(mode, keys);
    int good = 1;

    if (cipher == NULL)
        return -EINVAL;
    if (do_seal && is_reply)
        tw_crypto_seal_reply(cipher, packet);
    else if (do_seal)
        tw_crypto_seal_request(cipher, packet);
    else
        good = is_reply ? tw_crypto_unseal_reply(cipher, packet)
                        : tw_crypto_unseal_request(cipher, packet);
    tw_crypto_close(cipher);
    return good ? 0 : -EBADMSG;
}
