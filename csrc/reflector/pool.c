/* pool.c: an id is row | generation << 32, so an id of a row that was given away again is stale. */
#include "reflector/pool.h"

#include <errno.h>
#include <stdlib.h>

#define GENERATIONS 0x7fffffffu /* an id is no negative number */

int tw_pool_open(struct tw_pool *pool, uint32_t size, uint64_t seed)
{
    *pool = (struct tw_pool){
        .size = size,
        .free_session = TW_POOL_NONE,
        .free_socket = TW_POOL_NONE,
        .dying = TW_POOL_NONE,
        .sessions = calloc(size, sizeof *pool->sessions),
        /* Twice: dying sockets keep their rows until the loop comes by. */
        .sockets = calloc(2 * (size_t)size, sizeof *pool->sockets),
    };
    if (pool->sessions != NULL && pool->sockets != NULL &&
        tw_index_open(&pool->by_peer, size, seed) == 0 &&
        tw_index_open(&pool->by_local, 2 * size, seed) == 0)
        return 0;
    return -ENOMEM;
}

void tw_pool_close(struct tw_pool *pool)
{
    tw_index_close(&pool->by_local);
    tw_index_close(&pool->by_peer);
    free(pool->sockets);
    free(pool->sessions);
}

uint32_t tw_pool_find_socket(const struct tw_pool *pool, const struct tw_endpoint *local)
{
    const struct tw_index_key key = tw_index_key(local, local->scope_id);

    return tw_index_find(&pool->by_local, &key);
}

static void list_as_dying(struct tw_pool *pool, uint32_t row)
{
    if (pool->sockets[row].listed)
        return; /* it died, was revived and dies again before the loop came by */
    pool->sockets[row].listed = 1;
    pool->sockets[row].next = pool->dying;
    pool->dying = row;
}

uint32_t tw_pool_adopt(struct tw_pool *pool, const struct tw_endpoint *local, int fd)
{
    uint32_t row = pool->free_socket;
    struct tw_pool_socket *socket;

    if (row != TW_POOL_NONE)
        pool->free_socket = pool->sockets[row].next;
    else if (pool->fresh_socket < 2 * pool->size)
        row = pool->fresh_socket++;
    else
        return TW_POOL_NONE;
    socket = &pool->sockets[row];
    socket->key = tw_index_key(local, local->scope_id);
    socket->generation = (socket->generation + 1) & GENERATIONS;
    socket->fd = fd;
    socket->light = TW_POOL_NONE;
    pool->socket_count++;
    tw_index_insert(&pool->by_local, &socket->key, row);
    list_as_dying(pool, row); /* until a session comes */
    return row;
}

uint64_t tw_pool_socket_id(const struct tw_pool *pool, uint32_t row)
{
    return (uint64_t)pool->sockets[row].generation << 32 | row;
}

struct tw_pool_socket *tw_pool_socket(struct tw_pool *pool, uint64_t id)
{
    struct tw_pool_socket *socket = &pool->sockets[(uint32_t)id];

    return socket->fd >= 0 && socket->generation == id >> 32 ? socket : NULL;
}

uint64_t tw_pool_dying(struct tw_pool *pool)
{
    while (pool->dying != TW_POOL_NONE && pool->sockets[pool->dying].sessions > 0) {
        pool->sockets[pool->dying].listed = 0; /* revived */
        pool->dying = pool->sockets[pool->dying].next;
    }
    return pool->dying == TW_POOL_NONE ? TW_POOL_NO_ID : tw_pool_socket_id(pool, pool->dying);
}

int tw_pool_bury(struct tw_pool *pool)
{
    const uint64_t id = tw_pool_dying(pool);
    const uint32_t row = (uint32_t)id;
    struct tw_pool_socket *socket;
    int fd;

    if (id == TW_POOL_NO_ID)
        return -1;
    socket = &pool->sockets[row];
    fd = socket->fd;
    pool->dying = socket->next;
    socket->listed = 0;
    tw_index_erase(&pool->by_local, &socket->key);
    socket->fd = -1;
    socket->next = pool->free_socket;
    pool->free_socket = row;
    pool->socket_count--;
    return fd;
}

static const struct tw_layout *layout_of(const struct tw_session_config *config)
{
    if (config->peer.ip_version == 0)
        return tw_layout(TW_LAYOUT_LIGHT);
    return tw_layout(config->mode == TW_MODE_UNAUTHENTICATED ? TW_LAYOUT_UNAUTHENTICATED
                                                             : TW_LAYOUT_SECURED);
}

static uint32_t waits_for_port(const struct tw_index_key *key)
{
    return key->port == 0 && key->ip_version != 0;
}

int64_t tw_pool_add(struct tw_pool *pool, uint32_t socket, const struct tw_session_config *config)
{
    const struct tw_index_key key = tw_index_key(&config->peer, socket);
    const uint8_t light = config->peer.ip_version == 0;
    uint32_t row = pool->free_session;
    struct tw_pool_session *session;

    if (tw_index_find(&pool->by_peer, &key) != TW_POOL_NONE)
        return -EEXIST;
    if (row != TW_POOL_NONE)
        pool->free_session = pool->sessions[row].next_free;
    else if (pool->fresh_session < pool->size)
        row = pool->fresh_session++;
    else
        return -ENOSPC;
    session = &pool->sessions[row];
    *session = (struct tw_pool_session){
        .key = key,
        .layout = layout_of(config),
        .deadline_ns = UINT64_MAX,
        .rate = tw_rate_limit_of(config->rate_limit),
        .generation = (session->generation + 1) & GENERATIONS,
        .used = 1,
        .started = light,
        .light = light,
        .tos = (uint8_t)(config->dscp << 2), /* ECN: Not-ECT */
    };
    pool->session_count++;
    pool->any_port_count += waits_for_port(&key);
    pool->sockets[socket].sessions++;
    if (light)
        pool->sockets[socket].light = row;
    tw_index_insert(&pool->by_peer, &key, row);
    return (int64_t)((uint64_t)session->generation << 32 | row);
}

struct tw_pool_session *tw_pool_session(struct tw_pool *pool, int64_t id)
{
    const uint32_t row = (uint32_t)id;
    struct tw_pool_session *session;

    if (id < 0 || row >= pool->fresh_session)
        return NULL;
    session = &pool->sessions[row];
    return session->used && session->generation == (uint64_t)id >> 32 ? session : NULL;
}

/* The session that waits for this peer's port, and has it from now on. */
static uint32_t claim(struct tw_pool *pool, const struct tw_index_key *key)
{
    struct tw_index_key any_port = *key;
    uint32_t row;

    any_port.port = 0;
    row = tw_index_find(&pool->by_peer, &any_port);
    if (row == TW_POOL_NONE || !pool->sessions[row].started)
        return TW_POOL_NONE;
    tw_index_erase(&pool->by_peer, &any_port);
    tw_index_insert(&pool->by_peer, key, row);
    pool->sessions[row].key = *key;
    pool->any_port_count--;
    return row;
}

uint32_t tw_pool_find_session(struct tw_pool *pool, uint32_t socket, const struct tw_endpoint *peer)
{
    const struct tw_index_key key = tw_index_key(peer, socket);
    uint32_t row = tw_index_find(&pool->by_peer, &key);

    if (row == TW_POOL_NONE && pool->any_port_count > 0)
        row = claim(pool, &key);
    return row != TW_POOL_NONE ? row : pool->sockets[socket].light;
}

int tw_pool_remove(struct tw_pool *pool, struct tw_pool_session *session)
{
    const uint32_t socket = session->key.scope;

    tw_index_erase(&pool->by_peer, &session->key);
    pool->any_port_count -= waits_for_port(&session->key);
    if (session->light)
        pool->sockets[socket].light = TW_POOL_NONE;
    session->used = 0;
    session->next_free = pool->free_session;
    pool->free_session = (uint32_t)(session - pool->sessions);
    pool->session_count--;
    if (--pool->sockets[socket].sessions > 0)
        return 0;
    list_as_dying(pool, socket);
    return 1;
}
