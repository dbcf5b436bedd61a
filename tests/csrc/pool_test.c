/* pool_test.c: ids and rows of sessions and sockets, as no socket is needed to see.  Prints each
 * claim that does not hold. */
#include "claim.h"
#include "reflector/pool.h"

#include <errno.h>

#define SIZE 3

static struct tw_endpoint at(uint16_t port)
{
    return (struct tw_endpoint){.address = {127, 0, 0, 1}, .port = port, .ip_version = 4};
}

static struct tw_session_config of(uint16_t port)
{
    return (struct tw_session_config){.peer = at(port)};
}

static int64_t add(struct tw_pool *pool, uint32_t socket, uint16_t port)
{
    const struct tw_session_config config = of(port);

    return tw_pool_add(pool, socket, &config);
}

/* Dying, revived, dying again and revived again, before the loop comes by; then for good. */
static void sockets_are_revived_and_buried_once(struct tw_pool *pool)
{
    const struct tw_endpoint local = at(862);
    const uint32_t socket = tw_pool_adopt(pool, &local, 17);
    const uint64_t id = tw_pool_socket_id(pool, socket);

    for (int i = 0; i < 3; i++) {
        const int64_t session = add(pool, socket, 1000);
        CLAIM(session >= 0);
        CLAIM(tw_pool_remove(pool, tw_pool_session(pool, session)) == 1);
        CLAIM(tw_pool_session(pool, session) == NULL);
        CLAIM(tw_pool_find_socket(pool, &local) == socket);
    }
    CLAIM(add(pool, socket, 1000) >= 0);
    CLAIM(tw_pool_bury(pool) == -1); /* revived */
    CLAIM(tw_pool_socket(pool, id) != NULL);
    CLAIM(tw_pool_remove(pool, &pool->sessions[0]) == 1);
    CLAIM(tw_pool_bury(pool) == 17);
    CLAIM(tw_pool_bury(pool) == -1);
    CLAIM(tw_pool_socket(pool, id) == NULL);
    CLAIM(tw_pool_find_socket(pool, &local) == TW_POOL_NONE);
    /* The row comes back under another id. */
    CLAIM(tw_pool_adopt(pool, &local, 18) == socket);
    CLAIM(tw_pool_socket(pool, id) == NULL);
    CLAIM(tw_pool_socket_id(pool, socket) != id);
    CLAIM(tw_pool_bury(pool) == 18); /* adopted, and no session came */
    CLAIM(pool->socket_count == 0 && pool->session_count == 0);
}

/* A session of any port waits until it is started, and is then that of the first port alone. */
static void a_first_packet_names_the_port(struct tw_pool *pool)
{
    const struct tw_endpoint local = at(862);
    const struct tw_endpoint first = at(40001);
    const struct tw_endpoint second = at(40002);
    const uint32_t socket = tw_pool_adopt(pool, &local, 21);
    const int64_t any = add(pool, socket, 0);
    const int64_t known = add(pool, socket, 1000);
    const struct tw_endpoint of_known = at(1000);
    struct tw_pool_session *session = tw_pool_session(pool, any);

    CLAIM(add(pool, socket, 0) == -EEXIST);
    CLAIM(tw_pool_find_session(pool, socket, &first) == TW_POOL_NONE);
    session->started = 1;
    CLAIM(tw_pool_find_session(pool, socket, &of_known) == (uint32_t)known);
    CLAIM(tw_pool_find_session(pool, socket, &first) == (uint32_t)any);
    CLAIM(tw_pool_find_session(pool, socket, &second) == TW_POOL_NONE);
    CLAIM(tw_pool_find_session(pool, socket, &first) == (uint32_t)any);
    CLAIM(pool->any_port_count == 0);
    CLAIM(tw_pool_remove(pool, session) == 0);
    CLAIM(tw_pool_find_session(pool, socket, &first) == TW_POOL_NONE);
    CLAIM(add(pool, socket, 0) >= 0 && pool->any_port_count == 1);
    CLAIM(tw_pool_remove(pool, tw_pool_session(pool, known)) == 0);
    CLAIM(tw_pool_remove(pool, &pool->sessions[(uint32_t)any]) == 1);
    CLAIM(pool->any_port_count == 0);
    CLAIM(tw_pool_bury(pool) == 21);
}

static void rows_run_out_and_come_back(struct tw_pool *pool)
{
    const struct tw_endpoint local = at(862);
    const uint32_t socket = tw_pool_adopt(pool, &local, 19);
    int64_t ids[SIZE];

    for (uint16_t i = 0; i < SIZE; i++) {
        ids[i] = add(pool, socket, (uint16_t)(1 + i));
        CLAIM(ids[i] >= 0);
        CLAIM(add(pool, socket, (uint16_t)(1 + i)) == -EEXIST);
    }
    CLAIM(add(pool, socket, 99) == -ENOSPC);
    CLAIM(tw_pool_remove(pool, tw_pool_session(pool, ids[1])) == 0);
    CLAIM(add(pool, socket, 99) >= 0);
    CLAIM(tw_pool_session(pool, ids[1]) == NULL);
    CLAIM(tw_pool_session(pool, -1) == NULL);
    CLAIM(tw_pool_session(pool, INT64_MAX) == NULL);
    CLAIM(tw_pool_session(pool, SIZE) == NULL);
    CLAIM(tw_pool_session(pool, ids[0] + ((int64_t)1 << 32)) == NULL);
    for (uint16_t i = 1; i < 2 * SIZE; i++) {
        const struct tw_endpoint other = at((uint16_t)(1000 + i));
        CLAIM(tw_pool_adopt(pool, &other, 100 + i) != TW_POOL_NONE);
    }
    CLAIM(tw_pool_adopt(pool, &(struct tw_endpoint){.port = 1}, 1) == TW_POOL_NONE);
}

/* A light session has the peers that have none of their own, while it is there. */
static void a_light_session_has_who_is_left(struct tw_pool *pool)
{
    const struct tw_session_config everybody = {.local = at(862)};
    const uint32_t socket = tw_pool_adopt(pool, &everybody.local, 17);
    const struct tw_endpoint known = at(1000), other = at(1001);
    const int64_t own = add(pool, socket, known.port);
    int64_t light;

    CLAIM(!tw_pool_session(pool, own)->light && !tw_pool_session(pool, own)->started);
    CLAIM(tw_pool_find_session(pool, socket, &other) == TW_POOL_NONE);
    light = tw_pool_add(pool, socket, &everybody);
    CLAIM(tw_pool_session(pool, light)->light && tw_pool_session(pool, light)->started);
    CLAIM(tw_pool_add(pool, socket, &everybody) == -EEXIST);
    CLAIM(tw_pool_find_session(pool, socket, &known) == (uint32_t)own);
    CLAIM(tw_pool_find_session(pool, socket, &other) == (uint32_t)light);
    CLAIM(tw_pool_remove(pool, tw_pool_session(pool, own)) == 0);
    CLAIM(tw_pool_find_session(pool, socket, &known) == (uint32_t)light);
    CLAIM(tw_pool_remove(pool, tw_pool_session(pool, light)) == 1);
    CLAIM(tw_pool_find_session(pool, socket, &other) == TW_POOL_NONE);
    CLAIM(tw_pool_add(pool, socket, &everybody) >= 0); /* it revives the socket */
    CLAIM(tw_pool_bury(pool) == -1);
}

int main(void)
{
    struct tw_pool pool;

    CLAIM(tw_pool_open(&pool, SIZE, 1) == 0);
    sockets_are_revived_and_buried_once(&pool);
    tw_pool_close(&pool);
    CLAIM(tw_pool_open(&pool, SIZE, 3) == 0);
    a_light_session_has_who_is_left(&pool);
    tw_pool_close(&pool);
    CLAIM(tw_pool_open(&pool, SIZE, 4) == 0);
    a_first_packet_names_the_port(&pool);
    tw_pool_close(&pool);
    CLAIM(tw_pool_open(&pool, SIZE, 2) == 0);
    rows_run_out_and_come_back(&pool);
    tw_pool_close(&pool);
    return failures != 0;
}
