/* admission.c: the reasons for which a packet is not answered, in their order: a packet that is
 * refused takes nothing from a bucket that comes later. */
#include "reflector/admission.h"

#define LEAST_SENDER_PORT 1024u /* below are those of services */

int tw_admission_open(struct tw_admission *admission, uint32_t sessions, uint64_t seed)
{
    const int result = tw_rate_limit_open(&admission->clients, sessions, seed);

    return result < 0 ? result : tw_rate_limit_open(&admission->strangers, sessions, seed);
}

void tw_admission_close(struct tw_admission *admission)
{
    tw_client_list_close(admission->light_clients);
    tw_rate_limit_close(&admission->strangers);
    tw_rate_limit_close(&admission->clients);
}

/* A forged request may name a reflector, or an echo service, as its sender.  Such answer on
 * well-known ports, or on the port that we do. */
static int may_answer(const struct tw_endpoint *peer, uint16_t own_port)
{
    return peer->port < LEAST_SENDER_PORT || peer->port == own_port;
}

uint8_t tw_admission_refuse(struct tw_admission *admission, struct tw_pool_session *session,
                            const struct tw_endpoint *peer, uint16_t own_port, uint64_t now_ns)
{
    const int is_stranger = session->light && admission->light_clients == NULL;

    if (session->light && !tw_client_list_have(admission->light_clients, peer))
        return TW_DROP_CLIENT_LIST;
    if (session->light && may_answer(peer, own_port))
        return TW_DROP_LOOP;
    if (!session->started)
        return TW_DROP_NOT_STARTED;
    if (now_ns > session->deadline_ns)
        return TW_DROP_STOPPED;
    if (is_stranger && !tw_rate_limit_take(&admission->strangers, peer, now_ns))
        return TW_DROP_RATE_LIMIT;
    if (!tw_rate_limit_take_from(&session->rate, &session->full_at_ns, now_ns))
        return TW_DROP_RATE_LIMIT;
    if (!tw_rate_limit_take(&admission->clients, peer, now_ns))
        return TW_DROP_RATE_LIMIT;
    return 0;
}
