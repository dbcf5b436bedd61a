/* pool.h: the sockets of a Session-Reflector and the sessions that share them: rows, ids, free
 * lists. Memory alone, no system call, no lock: the caller holds one. */
#pragma once
#include "api/reflect.h"
#include "api/reflector.h"
#include "reflector/index.h"
#include "reflector/rate_limit.h"

#define TW_POOL_NONE  TW_INDEX_NONE
#define TW_POOL_NO_ID UINT64_MAX

struct tw_cipher;

struct tw_pool_session {
    struct tw_index_key key; /* the peer, and the row of the socket as its scope */
    struct tw_session_stats stats;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
    uint64_t full_at_ns;  /* of the session's own bucket */
    struct tw_rate rate;
    struct tw_cipher *cipher;       /* the caller's to close; NULL = unauthenticated */
    const struct tw_layout *layout; /* of its packets */
    uint32_t generation;
    uint32_t next_free;
    uint8_t used;
    uint8_t started;
    uint8_t light; /* of every peer that has none of its own */
    uint8_t tos;   /* of the replies */
};

struct tw_pool_socket {
    struct tw_index_key key; /* the local endpoint */
    uint32_t generation;
    uint32_t sessions;  /* 0 = dying: a new session revives it, or it is buried */
    uint32_t next;      /* free or dying row */
    uint32_t overflows; /* of its receive buffer, as last seen */
    uint32_t light;     /* row of that session; TW_POOL_NONE = there is none */
    int fd;             /* -1 = the row is free */
    uint8_t listed;     /* among the dying */
};

struct tw_pool {
    struct tw_pool_session *sessions;
    struct tw_pool_socket *sockets;
    struct tw_index by_peer;
    struct tw_index by_local;
    uint32_t size; /* sessions at most; there are twice as many rows of sockets */
    uint32_t session_count;
    uint32_t any_port_count; /* sessions that wait for a first packet to name its port */
    uint32_t socket_count;
    uint32_t fresh_session; /* rows from here on were never used: a big pool costs what it holds */
    uint32_t fresh_socket;
    uint32_t free_session;
    uint32_t free_socket;
    uint32_t dying;
};

/* Whether it opens or not, it is to be closed. */
int tw_pool_open(struct tw_pool *pool, uint32_t size, uint64_t seed);
void tw_pool_close(struct tw_pool *pool);

/* Sockets: by row; ids are for epoll.  adopt and find give TW_POOL_NONE when there is none. */
uint32_t tw_pool_find_socket(const struct tw_pool *pool, const struct tw_endpoint *local);
uint32_t tw_pool_adopt(struct tw_pool *pool, const struct tw_endpoint *local, int fd);
uint64_t tw_pool_socket_id(const struct tw_pool *pool, uint32_t row);
struct tw_pool_socket *tw_pool_socket(struct tw_pool *pool, uint64_t id); /* NULL: stale */
/* The id of the socket that is buried next; TW_POOL_NO_ID: none is dying. */
uint64_t tw_pool_dying(struct tw_pool *pool);
/* Frees the row of that dying socket and returns the descriptor to close; -1: none is dying. */
int tw_pool_bury(struct tw_pool *pool);

/* Sessions.  A config whose peer has no IP version is that of a light one, started at once; find
 * gives it for peers that have no session of their own.  One whose peer has port 0, once started,
 * becomes that of the port from which its peer is first looked for. */
int64_t tw_pool_add(struct tw_pool *pool, uint32_t socket, const struct tw_session_config *config);
struct tw_pool_session *tw_pool_session(struct tw_pool *pool, int64_t id); /* NULL: stale */
uint32_t tw_pool_find_session(struct tw_pool *pool, uint32_t socket,
                              const struct tw_endpoint *peer);
/* 1 when that was the last session of its socket, which is dying now. */
int tw_pool_remove(struct tw_pool *pool, struct tw_pool_session *session);
