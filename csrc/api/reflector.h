/* reflector.h: the Session-Reflector (RFC 5357 section 4.2). */
#pragma once
#include "api/device_clock.h"
#include "api/counters.h"
#include "api/histogram.h"
#include "api/types.h"

#define TW_LIGHT_CLIENTS_MAX 1024 /* prefixes in their list */

struct tw_reflector;

/* Which clock T2 is read from, and by whom. */
enum tw_timestamp {
    TW_TIMESTAMP_AUTO,    /* the kernel, and this program where the kernel gives no stamp */
    TW_TIMESTAMP_KERNEL,  /* the same, but a kernel that cannot stamp is an error */
    TW_TIMESTAMP_USER,    /* this program */
    TW_TIMESTAMP_HARDWARE /* the network device, as far as a model of its clock is known; or auto */
};

/* The format of T2 and T3 of light sessions, others have NTP's; the Error Estimate's Z bit says
 * which (RFC 8186). */
enum tw_format { TW_FORMAT_NTP, TW_FORMAT_PTP };

struct tw_reflector_config {
    uint64_t hash_seed;        /* random, so that no peer can aim at one chain of the hash */
    uint32_t maximum_sessions; /* 1..65536 */
    uint32_t receive_buffer;   /* octets to ask for with SO_RCVBUF; 0 = leave the system's */
    uint32_t tx_batch; /* 1..TW_BATCH replies under one T3; 0 = as many as t3_budget_ns allows */
    uint32_t t3_budget_ns;     /* how long before it has left a reply's T3 may be read */
    uint32_t rate_limit;       /* packets per second and client; 0 = no limit */
    uint32_t light_rate_limit; /* the same of light sessions, while they are open to everybody */
    uint32_t spin_us;          /* how long the loop looks for packets before it sleeps */
    uint8_t timestamp;         /* enum tw_timestamp */
    uint8_t timestamp_format;  /* enum tw_format */
    uint8_t t3_correction;     /* whether the measured error of T3 is added to it */
    uint8_t takes_zero_error; /* whether requests with Error Estimate 0 are answered, and counted */
};

struct tw_session_config {
    struct tw_endpoint local; /* Receiver Address, Receiver Port */
    struct tw_endpoint peer;  /* Sender Address, Sender Port; port 0 = that of its first packet */
    struct tw_test_keys keys; /* of the secured modes */
    uint32_t rate_limit;      /* packets per second of this session; 0 = no limit */
    uint8_t dscp;             /* of the replies: 0..63 */
    uint8_t mode;             /* enum tw_mode */
    uint8_t reserved[2];
};

struct tw_session_stats {
    uint64_t received; /* packets of this session, after the 4-tuple matched */
    uint64_t reflected;
    uint64_t dropped;
    uint64_t zero_error_estimates;   /* of the reflected: requests with Multiplier 0 */
    uint64_t last_packet_ns;         /* CLOCK_MONOTONIC, of the last good one; 0 = none yet */
    uint32_t last_received_sequence; /* the sender's, of the last good packet */
    uint32_t last_sent_sequence;     /* the reflector's own, of the last reply */
    uint8_t last_source;             /* enum tw_source, of the last good packet's T2 */
    uint8_t reserved[7];
};

struct tw_reflector_stats {
    uint64_t received; /* datagrams read from the pool */
    uint64_t reflected;
    uint64_t drops[TW_DROP_COUNT];             /* [0] stays 0 */
    uint64_t receive_sources[TW_SOURCE_COUNT]; /* T2 of reflected and dropped packets, by source */
    uint64_t counters[TW_COUNTER_COUNT];
    uint32_t sessions;
    uint32_t sockets;
    uint32_t receive_buffer; /* octets that the kernel granted, less its bookkeeping; of the latest
                                socket */
    uint32_t t3_chunk;       /* replies under one T3 now, in eighths */
};

/* How much later than their T3 sampled replies have left. */
struct tw_t3_error_stats {
    struct tw_histogram error;
    uint64_t missed;        /* samples whose stamp never came */
    uint64_t early;         /* left before its T3; in the histogram as 0 */
    uint32_t correction_ns; /* added to the clock for T3 now */
    uint32_t source;        /* enum tw_source of the stamps now */
};

int tw_reflector_open(const struct tw_reflector_config *config, struct tw_reflector **reflector);

/* To be called after the thread that runs it has been joined. */
void tw_reflector_close(struct tw_reflector *reflector);

/* Limits the packets per second and client from now on; 0 = no limit.  A client is an
 * IPv4 address, or a /64 of IPv6, whatever its sessions; a tenth of a second's worth of packets,
 * and 16 in any case, may come at once. */
int tw_reflector_set_rate_limit(struct tw_reflector *reflector, uint32_t rate_limit);

/* The same for the clients of light sessions, while everybody may use them. */
int tw_reflector_set_light_rate_limit(struct tw_reflector *reflector, uint32_t rate_limit);

/* The loop: returns 0 after tw_reflector_stop, -errno when epoll fails. */
int tw_reflector_run(struct tw_reflector *reflector);

/* One turn of the loop: waits up to timeout_ms (-1: for ever); returns the packets read. */
int tw_reflector_step(struct tw_reflector *reflector, int timeout_ms);
int tw_reflector_stop(struct tw_reflector *reflector);

/* Makes the loop take a turn without a packet; TW_COUNTER_TURNS shows whether it did. */
int tw_reflector_nudge(struct tw_reflector *reflector);

/* Adds a session, not yet started; returns its id.  The socket of config->local is shared by
 * sessions: with fd < 0 the one at hand is used, -ENOENT if there is none; else fd, bound to
 * config->local, is duplicated.  The loop closes the duplicate when its last session goes.
 * -EEXIST: the 4-tuple is taken; -ENOSPC: maximum_sessions. */
int64_t tw_reflector_add(struct tw_reflector *reflector, const struct tw_session_config *config,
                         int fd);

/* Adds a session of every peer that has none of its own on that socket (TWAMP Light, RFC 5357
 * Appendix I): unauthenticated, started, each reply with the number and the DSCP of its request and
 * never longer.  Otherwise it is a session like any other, with fd
 * and errors as above; finish and remove end it.  local may be a wildcard address (of IPv6 with
 * IPV6_V6ONLY): a reply leaves from the address that was asked. */
int64_t tw_reflector_add_light(struct tw_reflector *reflector, const struct tw_endpoint *local,
                               int fd);

/* Sets the clients that may use light sessions from now on; the prefixes are copied, and none at
 * all means everybody.  -EINVAL for a malformed prefix, or more than TW_LIGHT_CLIENTS_MAX. */
int tw_reflector_set_light_clients(struct tw_reflector *reflector, const struct tw_prefix *prefixes,
                                   uint32_t count);

/* From now on packets are reflected (Start-Sessions).  -ENOENT for a stale id, here and below. */
int tw_reflector_start(struct tw_reflector *reflector, int64_t id);

/* Reflects until deadline_ns (CLOCK_MONOTONIC) and never later (Stop-Sessions, Timeout). */
int tw_reflector_finish(struct tw_reflector *reflector, int64_t id, uint64_t deadline_ns);
int tw_reflector_remove(struct tw_reflector *reflector, int64_t id);
int tw_reflector_session_stats(struct tw_reflector *reflector, int64_t id,
                               struct tw_session_stats *stats);

/* Reads many sessions at once: found[i] is 0 for a stale id, and stats[i] zeroed.  Returns how many
 * were found.  The loop runs in between, so this is no snapshot of one moment. */
int tw_reflector_session_stats_of(struct tw_reflector *reflector, const int64_t *ids,
                                  uint32_t count, struct tw_session_stats *stats, uint8_t *found);
void tw_reflector_stats(struct tw_reflector *reflector, struct tw_reflector_stats *stats);
void tw_reflector_t3_error(struct tw_reflector *reflector, struct tw_t3_error_stats *t3_error);

/* Reads how much later than the device the kernel stamped packets, of those with both stamps. */
void tw_reflector_receive_lag(struct tw_reflector *reflector, struct tw_histogram *lag);

/* Sets the models of the devices' clocks from now on; -EINVAL for more than TW_CLOCK_MODELS_MAX. */
int tw_reflector_set_clock_models(struct tw_reflector *reflector,
                                  const struct tw_clock_model *models, uint32_t count);
