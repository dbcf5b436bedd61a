/* counters.h: the names of what the Session-Reflector counts. */
#pragma once

/* Why a received packet was not answered.  Each packet is counted once: received == reflected + the
 * sum of drops. */
enum tw_drop {
    TW_DROP_SHORT = 1,      /* shorter than the shortest request of its layout */
    TW_DROP_LONG,           /* longer than TW_PACKET_MAX, truncated by the kernel */
    TW_DROP_HMAC,           /* secured modes: not sealed with the keys of the session */
    TW_DROP_ERROR_ESTIMATE, /* Multiplier 0 (RFC 4656 section 4.1.2), where that is dropped */
    TW_DROP_NO_SESSION,     /* from an address and port that no session here expects */
    TW_DROP_CLIENT_LIST,    /* for a light session, from a client that may not use it */
    TW_DROP_LOOP, /* a reply itself; or for a light session, from a port that could answer ours */
    TW_DROP_NOT_STARTED,  /* before Start-Sessions */
    TW_DROP_STOPPED,      /* later than Timeout after Stop-Sessions */
    TW_DROP_RATE_LIMIT,   /* more than the client may send in a second */
    TW_DROP_SEND_BUFFER,  /* the reply found no room in the send buffer (EAGAIN, ENOBUFS) */
    TW_DROP_SEND_REFUSED, /* the kernel refused to send the reply (route, firewall, …) */
    TW_DROP_COUNT
};

/* Everything else that is counted; each row has its help in twamp/engine/statistics.py. */
enum tw_counter {
    TW_COUNTER_OVERFLOWS,            /* datagrams lost in full buffers; noticed with the next one */
    TW_COUNTER_TRUNCATED_CONTROL,    /* packets with MSG_CTRUNC: some control message did not fit */
    TW_COUNTER_REFUSED_STAMPS,       /* receive stamps that were far from the clock */
    TW_COUNTER_SEGMENTED,            /* of the reflected: those that left as segments of one send */
    TW_COUNTER_SEGMENTS_REFUSED,     /* sends of segments that the kernel did not take */
    TW_COUNTER_ZERO_ERROR_ESTIMATES, /* of the reflected: requests with Multiplier 0 */
    TW_COUNTER_TURNS,                /* of the loop; while it lives, a nudge makes one more */
    TW_COUNTER_COUNT
};
