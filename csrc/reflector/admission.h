/* admission.h: whether a packet that has found its session may be answered.  Memory alone, no
 * system call, no lock: the caller holds one. */
#pragma once
#include "reflector/client_list.h"
#include "reflector/pool.h"
#include "reflector/rate_limit.h"

struct tw_admission {
    struct tw_rate_limit clients;         /* of any session */
    struct tw_rate_limit strangers;       /* of light sessions while everybody may use them */
    struct tw_client_list *light_clients; /* may use light sessions; NULL = everybody */
};

/* Whether it opens or not, it is to be closed. */
int tw_admission_open(struct tw_admission *admission, uint32_t sessions, uint64_t seed);
void tw_admission_close(struct tw_admission *admission);

/* 0, or why the packet is dropped (enum tw_drop).  An admitted packet is taken from its buckets. */
uint8_t tw_admission_refuse(struct tw_admission *admission, struct tw_pool_session *session,
                            const struct tw_endpoint *peer, uint16_t own_port, uint64_t now_ns);
