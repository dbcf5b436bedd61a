/* twamp.h: what Python sees of the engine.  cffi reads this file as it stands (less '#' lines that
 * are no integer defines).  Structs cross by value, ids come back, statistics are copied out.
 * Functions return 0 or more, or -errno, unless they say otherwise; nothing here logs, calls back
 * or makes a thread.  Structs that are shared but not wire hold fixed-width types, widest first,
 * with the padding written out. */
#pragma once
#include <stdint.h>
#include <stddef.h>

#define TW_PACKET_MAX 65507 /* the largest UDP payload over IPv4 */
#define TW_BATCH      64    /* packets taken from a socket in one call */

#define TW_LIGHT_CLIENTS_MAX 1024 /* prefixes in their list */

/* An IP address and a UDP port.  IPv4 stands in the first four octets. */
struct tw_endpoint {
    uint8_t address[16];
    uint32_t scope_id; /* IPv6 link-local only */
    uint16_t port;
    uint8_t ip_version; /* 4 or 6 */
    uint8_t reserved;
};

/* Addresses that begin alike; what stands behind the length does not matter. */
struct tw_prefix {
    uint8_t address[16]; /* IPv4 stands in the first four octets */
    uint8_t length;      /* bits: 0..32, 0..128 */
    uint8_t ip_version;  /* 4 or 6 */
};

/* How test packets are protected; mixed mode (8) does not protect them (RFC 5618 section 3.1). */
enum tw_mode { TW_MODE_UNAUTHENTICATED = 1, TW_MODE_AUTHENTICATED = 2, TW_MODE_ENCRYPTED = 4 };

/* The keys of one test session (RFC 4656 section 4.1.2). */
struct tw_test_keys {
    uint8_t aes[16];
    uint8_t hmac[32];
};

/* Where a timestamp came from. */
enum tw_source {
    TW_SOURCE_NONE = 0, /* no timestamp at all */
    TW_SOURCE_USER,     /* the clock, read by this program */
    TW_SOURCE_KERNEL,   /* SO_TIMESTAMPING, software */
    TW_SOURCE_HARDWARE, /* SO_TIMESTAMPING, the NIC */
    TW_SOURCE_COUNT
};

/* Why a received packet was not answered; counted each: received == reflected + sum of drops. */
enum tw_drop {
    TW_DROP_SHORT = 1,      /* shorter than the sender packet of the mode; Light: than its reply */
    TW_DROP_LONG,           /* longer than TW_PACKET_MAX, truncated by the kernel */
    TW_DROP_HMAC,           /* secured modes: not sealed with the keys of the session */
    TW_DROP_ERROR_ESTIMATE, /* Multiplier 0: corrupt (RFC 4656 section 4.1.2) */
    TW_DROP_NO_SESSION,     /* from an address and port that no session here expects */
    TW_DROP_CLIENT_LIST,    /* for a light session, from who may not use it */
    TW_DROP_LOOP,           /* for a light session, from a port that may answer our answer */
    TW_DROP_NOT_STARTED,    /* before Start-Sessions */
    TW_DROP_STOPPED,        /* later than Timeout after Stop-Sessions */
    TW_DROP_RATE_LIMIT,     /* more than the client may send in a second */
    TW_DROP_SEND_BUFFER,    /* the reply found no room in the send buffer (EAGAIN, ENOBUFS) */
    TW_DROP_SEND_REFUSED,   /* the kernel refused to send the reply (route, firewall, …) */
    TW_DROP_COUNT
};

/* ---- reflect.c: one packet in, one packet out; pure ------------------------------------------ */

/* What the Session-Reflector knows of a packet beside its octets. */
struct tw_arrival {
    uint64_t receive_timestamp; /* T2 in wire format */
    uint32_t sequence_number;   /* the reflector's own */
    uint16_t error_estimate;    /* of T2 and T3 */
    uint8_t sender_ttl;         /* from the received IP header; 255 if it cannot be read */
    uint8_t reserved;
};

/* Builds the reply, all but T3; returns its length, or -TW_DROP_….  reply has TW_PACKET_MAX. */
int tw_reflect(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
               uint8_t *reply);

/* Writes T3 (wire format) into a reply. */
void tw_reflect_stamp(uint8_t *reply, uint64_t timestamp);

/* The same for the layouts of the secured modes: request in clear, reply to be sealed. */
int tw_reflect_secured(const uint8_t *request, size_t length, const struct tw_arrival *arrival,
                       uint8_t *reply);
void tw_reflect_secured_stamp(uint8_t *reply, uint64_t timestamp);

/* ---- crypto.c: what it does to one packet, for tests: 0, -EBADMSG for a wrong HMAC, -EINVAL ----
 */

int tw_crypto_packet(uint8_t mode, const struct tw_test_keys *keys, int is_reply, int seal,
                     uint8_t *packet);

/* ---- clock.c --------------------------------------------------------------------------------- */

/* Unix ns -> NTP 64 bit (RFC 4656 section 4.1.2); rounds down, so that the way back is exact. */
uint64_t tw_clock_ntp(uint64_t unix_ns);

/* Unix ns -> PTPv2 truncated (RFC 8186 section 2.3), of a PTP clock that runs on UTC as ours does.
 */
uint64_t tw_clock_ptp(uint64_t unix_ns);

/* The smallest Error Estimate of error_ns or more (RFC 4656 section 4.1.2); Multiplier 1..255. */
uint16_t tw_clock_encode_error(uint64_t error_ns, int synchronised);

/* The Error Estimate of the system clock now (adjtimex), never less than least_ns. */
uint16_t tw_clock_error_estimate(uint64_t least_ns);

#define TW_CLOCK_MODELS_MAX 8

/* What the clock of a network device (PHC) says of the system clock. */
struct tw_clock_model {
    uint64_t device_ns; /* when the device's clock showed this, */
    uint64_t unix_ns;   /* the system clock showed that */
    int64_t rate;       /* how much faster the system clock runs: ns per 2^32 ns of the device's */
    uint64_t error_ns;  /* how far what is made of a stamp may be off */
    uint32_t interface; /* the device's index */
    uint32_t transmits; /* whether it stamps what leaves */
};

/* A time of the device's clock as Unix ns: 1, or 0 when it is more than 10 s from the model's. */
int tw_clock_convert(const struct tw_clock_model *model, uint64_t device_ns, uint64_t *unix_ns);

/* ---- cmsg.c: control messages -------------------------------------------------------------- */

/* What the control messages of a received datagram say. */
struct tw_rx {
    uint64_t kernel_ns;   /* software stamp, Unix ns; 0 = none */
    uint64_t hardware_ns; /* hardware stamp, ns of the device's clock; 0 = none */
    uint32_t device;      /* index of the one that stamped; 0 = not said */
    uint32_t overflows;   /* datagrams that the socket had lost when this one came; modulo 2^32 */
    uint32_t interface;   /* by which it came; 0 = not said */
    uint8_t asked[16];    /* the address that it was sent to */
    uint8_t asked_ip_version; /* 4 or 6; 0 = not said */
    uint8_t ttl;              /* 255 if absent */
    uint8_t tos;
    uint8_t truncated; /* MSG_CTRUNC */
};

/* Reads any octets at any alignment; what is not exactly a message that we know is passed over. */
void tw_socket_parse(const uint8_t *control, size_t length, struct tw_rx *rx);

/* What the error queue says of a packet that has left. */
struct tw_departure {
    uint64_t kernel_ns;   /* as in struct tw_rx */
    uint64_t hardware_ns; /* as in struct tw_rx */
    uint32_t id;
    uint32_t reserved;
};

/* A transmit stamp: 1, or 0 when it is something else. */
int tw_socket_parse_departure(const uint8_t *control, size_t length,
                              struct tw_departure *departure);

/* ---- histogram.c ----------------------------------------------------------------------------- */

#define TW_HISTOGRAM_BUCKETS 832

/* By ns: 0..31 one bucket each; above, 32 for each doubling; the last has all from 2^30 - 1 on. */
struct tw_histogram {
    uint64_t samples;
    uint64_t most_ns;
    uint64_t counts[TW_HISTOGRAM_BUCKETS];
};

/* ---- reflector.c, loop.c: the Session-Reflector ---- */

struct tw_reflector;

/* Who reads the clock for T2. */
enum tw_timestamp {
    TW_TIMESTAMP_AUTO,    /* the kernel, and this program where the kernel gives no stamp */
    TW_TIMESTAMP_KERNEL,  /* the same, but a kernel that cannot stamp is an error */
    TW_TIMESTAMP_USER,    /* this program */
    TW_TIMESTAMP_HARDWARE /* the network device, as far as a model of its clock is known; or auto */
};

/* How T2 and T3 leave; the Error Estimate's Z bit tells (RFC 8186). */
enum tw_format { TW_FORMAT_NTP, TW_FORMAT_PTP };

struct tw_reflector_config {
    uint64_t hash_seed;        /* random, so that no peer can aim at one chain of the hash */
    uint32_t maximum_sessions; /* 1..65536 */
    uint32_t receive_buffer;   /* octets to ask for with SO_RCVBUF; 0 = leave the system's */
    uint32_t tx_batch; /* 1..TW_BATCH replies under one T3; 0 = as many as t3_budget_ns allows */
    uint32_t t3_budget_ns;    /* how long before it has left a reply's T3 may be read */
    uint32_t rate_limit;      /* packets per second and client; 0 = no limit */
    uint32_t spin_us;         /* how long the loop looks for packets before it sleeps */
    uint8_t timestamp;        /* enum tw_timestamp */
    uint8_t timestamp_format; /* enum tw_format */
    uint8_t t3_correction;    /* whether T3 is corrected by what is known of its error */
    uint8_t reserved;
};

struct tw_session_config {
    struct tw_endpoint local; /* Receiver Address, Receiver Port */
    struct tw_endpoint peer;  /* Sender Address, Sender Port */
    struct tw_test_keys keys; /* of the secured modes */
    uint8_t dscp;             /* of the replies: 0..63 */
    uint8_t mode;             /* enum tw_mode */
    uint8_t reserved[6];
};

struct tw_session_stats {
    uint64_t received; /* packets of this session, after the 4-tuple matched */
    uint64_t reflected;
    uint64_t dropped;
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
    uint64_t refused_stamps;                   /* kernel stamps that were far from the clock */
    uint64_t truncated_control;                /* MSG_CTRUNC: some control message did not fit */
    uint64_t
        overflows; /* never received: lost in full receive buffers; seen with the next packet */
    uint64_t segmented;        /* of reflected: those that left as segments of one send */
    uint64_t segments_refused; /* sends of segments that the kernel did not take */
    uint64_t turns;            /* of the loop: while it lives, a nudge makes one more */
    uint32_t sessions;
    uint32_t sockets;
    uint32_t receive_buffer; /* octets that the kernel granted, less its bookkeeping; of the latest
                                socket */
    uint32_t t3_chunk;       /* replies under one T3 now, in eighths */
};

/* How much later than its T3 a reply has left, of those that asked. */
struct tw_t3_error_stats {
    struct tw_histogram error;
    uint64_t missed;        /* asked for, and never told */
    uint64_t early;         /* left before its T3; in the histogram as 0 */
    uint32_t correction_ns; /* is added to the clock for T3, now */
    uint32_t source;        /* enum tw_source: who tells, now */
};

int tw_reflector_open(const struct tw_reflector_config *config, struct tw_reflector **reflector);

/* After the thread that runs it has been joined. */
void tw_reflector_close(struct tw_reflector *reflector);

/* Packets of started sessions per second and client, from now on; 0 = no limit.  A client is an
 * IPv4 address, or a /64 of IPv6, whatever its sessions; a tenth of a second's worth of packets,
 * and 16 in any case, may come at once. */
int tw_reflector_set_rate_limit(struct tw_reflector *reflector, uint32_t rate_limit);

/* The loop: returns 0 after tw_reflector_stop, -errno when epoll fails. */
int tw_reflector_run(struct tw_reflector *reflector);

/* One turn of the loop: waits up to timeout_ms (-1: for ever); returns the packets read. */
int tw_reflector_step(struct tw_reflector *reflector, int timeout_ms);
int tw_reflector_stop(struct tw_reflector *reflector);

/* Makes the loop take a turn, though no packet came: turns will tell whether it still does. */
int tw_reflector_nudge(struct tw_reflector *reflector);

/* Adds a session, not yet started; returns its id.  The socket of config->local is shared by
 * sessions: with fd < 0 the one at hand is used, -ENOENT if there is none; else fd, bound to
 * config->local, is duplicated.  The loop closes the duplicate when its last session goes.
 * -EEXIST: the 4-tuple is taken; -ENOSPC: maximum_sessions. */
int64_t tw_reflector_add(struct tw_reflector *reflector, const struct tw_session_config *config,
                         int fd);

/* Adds a session of every peer that has none of its own on that socket (TWAMP Light, RFC 5357
 * Appendix I; STAMP without state, RFC 8762): unauthenticated, started, each reply with the number
 * and the DSCP of its request and never longer.  Otherwise it is a session like any other, with fd
 * and errors as above; finish and remove end it.  local may be a wildcard address (of IPv6 with
 * IPV6_V6ONLY): a reply leaves from the address that was asked. */
int64_t tw_reflector_add_light(struct tw_reflector *reflector, const struct tw_endpoint *local,
                               int fd);

/* Who may use light sessions, from now on: copied; none at all = everybody.  -EINVAL for what is no
 * prefix, or more than TW_LIGHT_CLIENTS_MAX. */
int tw_reflector_set_light_clients(struct tw_reflector *reflector, const struct tw_prefix *prefixes,
                                   uint32_t count);

/* From now on packets are reflected (Start-Sessions).  -ENOENT for a stale id, here and below. */
int tw_reflector_start(struct tw_reflector *reflector, int64_t id);

/* Reflects until deadline_ns (CLOCK_MONOTONIC) and never later (Stop-Sessions, Timeout). */
int tw_reflector_finish(struct tw_reflector *reflector, int64_t id, uint64_t deadline_ns);
int tw_reflector_remove(struct tw_reflector *reflector, int64_t id);
int tw_reflector_session_stats(struct tw_reflector *reflector, int64_t id,
                               struct tw_session_stats *stats);

/* Many sessions at once: found[i] is 0 for a stale id, and stats[i] zeroed.  Returns how many there
 * are.  The loop gets its turn in between: it is no snapshot of all at one moment. */
int tw_reflector_session_stats_of(struct tw_reflector *reflector, const int64_t *ids,
                                  uint32_t count, struct tw_session_stats *stats, uint8_t *found);
void tw_reflector_stats(struct tw_reflector *reflector, struct tw_reflector_stats *stats);
void tw_reflector_t3_error(struct tw_reflector *reflector, struct tw_t3_error_stats *t3_error);

/* How much later than the device's the kernel's receive stamp was, of packets that have both. */
void tw_reflector_receive_lag(struct tw_reflector *reflector, struct tw_histogram *lag);

/* What is known of the devices' clocks, from now on; -EINVAL for more than TW_CLOCK_MODELS_MAX. */
int tw_reflector_set_clock_models(struct tw_reflector *reflector,
                                  const struct tw_clock_model *models, uint32_t count);

/* ---- sender.c: the Session-Sender ------------------------------------------------------------ */

struct tw_sender;

/* Why a received datagram is no reply of the session. */
enum tw_sender_drop {
    TW_SENDER_DROP_SHORT = 1,      /* shorter than the reflector packet of the mode */
    TW_SENDER_DROP_LONG,           /* longer than TW_PACKET_MAX */
    TW_SENDER_DROP_FOREIGN,        /* not from the Session-Reflector's address and port */
    TW_SENDER_DROP_HMAC,           /* secured modes: not sealed with the keys of the session */
    TW_SENDER_DROP_ERROR_ESTIMATE, /* Multiplier 0 */
    TW_SENDER_DROP_SEQUENCE,       /* a Sender Sequence Number that was not sent */
    TW_SENDER_DROP_NO_ROOM, /* a further copy of a packet, and the table of duplicates is full */
    TW_SENDER_DROP_LATE,    /* to a packet whose row of the ring has been given away */
    TW_SENDER_DROP_COUNT
};

/* What came of one packet.  Times are NTP 64 bit, host order (differences span eras). */
struct tw_sample {
    uint64_t t1;              /* departure; the kernel's TX stamp where there is one */
    uint64_t t2;              /* Receive Timestamp */
    uint64_t t3;              /* Timestamp of the reply */
    uint64_t t4;              /* arrival of the reply */
    uint32_t sequence_number; /* the sender's */
    uint32_t reflector_sequence_number;
    uint32_t rank;       /* order of arrival, from 1; 0 = no reply (yet) */
    int32_t lateness_ns; /* T1 as read before the send, less the scheduled time */
    uint16_t sender_error_estimate;
    uint16_t reflector_error_estimate;
    uint8_t sender_ttl; /* as the reflector saw it */
    uint8_t ttl;        /* of the reply, as it came; 255 if it cannot be read */
    uint8_t tos;        /* of the reply, as it came */
    uint8_t t1_source;  /* enum tw_source; NONE = never sent */
    uint8_t t4_source;
    uint8_t reserved[7];
};

/* The four arrays are the caller's, and stay where they are until after close.
 *
 * With fewer rows than packets schedule and samples are rings: a packet's row is its sequence
 * number modulo size.  A row changes hands twice: it is run's from tw_sender_schedule_until until
 * loss_timeout_ns after its packet has gone, and the caller's again below tw_sender_settled. */
struct tw_sender_config {
    uint64_t *schedule; /* [size] ns after start_ns, ascending; in a ring run writes there when the
                           packet went (CLOCK_MONOTONIC) */
    const uint8_t *padding;       /* [padding_length + 255]; a window of it that moves goes out */
    struct tw_sample *samples;    /* [size], zeroed */
    struct tw_sample *duplicates; /* [duplicates_size]: arrivals after the first of their number */
    uint64_t start_ns;            /* CLOCK_MONOTONIC */
    uint64_t loss_timeout_ns;     /* how long replies are read after the last packet; of a ring:
                                     after each */
    struct tw_endpoint peer;      /* the Session-Reflector */
    struct tw_test_keys keys;     /* of the secured modes */
    uint32_t count;               /* packets, in all */
    uint32_t size; /* rows, of which count or size, whichever is less, are scheduled at open */
    uint32_t padding_length; /* octets after the header: 14, or 48 in the secured modes */
    uint32_t duplicates_size;
    uint32_t receive_buffer; /* octets to ask for with SO_RCVBUF; 0 = leave the system's */
    uint8_t dscp;
    uint8_t ttl;      /* 255 (RFC 4656 section 4.1.2) */
    uint8_t mode;     /* enum tw_mode */
    uint8_t hardware; /* whether the device is to be asked for stamps, too */
};

struct tw_sender_stats {
    uint64_t sent;
    uint64_t send_errors;                 /* packets the kernel refused: never sent */
    uint64_t received;                    /* datagrams read: samples + duplicates + drops */
    uint64_t drops[TW_SENDER_DROP_COUNT]; /* [0] stays 0 */
    uint64_t refused_stamps;
    uint64_t truncated_control;
    uint64_t duplicates; /* arrivals written to their table; of a ring row modulo duplicates_size */
    uint64_t stalls; /* of a ring: times that every packet scheduled had gone, and not the last */
    int32_t send_errno; /* of the last refused packet; 0 = none */
    uint32_t reserved;
};

int tw_sender_open(const struct tw_sender_config *config, int fd, struct tw_sender **sender);

/* Sends the schedule, reads replies until loss_timeout_ns after the last packet; 0 or -errno. */
int tw_sender_run(struct tw_sender *sender);

/* From any thread: run sends no more, and returns at once (drain = 0) or loss_timeout_ns after the
 * last packet. */
int tw_sender_stop(struct tw_sender *sender, int drain);
void tw_sender_stats(struct tw_sender *sender, struct tw_sender_stats *stats);

/* As tw_reflector_set_clock_models; without a model stamps of devices are refused. */
int tw_sender_set_clock_models(struct tw_sender *sender, const struct tw_clock_model *models,
                               uint32_t count);

/* A ring's caller, in one thread at a time, while another runs it.
 *
 * Rows below the number that settled returns are final, and the caller's; so are duplicates below
 * *duplicates, all of those of settled rows among them.  schedule_until gives rows back: those of
 * packets below sequence have been filled in schedule and hold no sample that is still wanted; it
 * never goes back, nor beyond settled + size (-EINVAL).  The same for duplicates below
 * duplicates_taken. */
uint32_t tw_sender_settled(struct tw_sender *sender, uint64_t *duplicates);
int tw_sender_schedule_until(struct tw_sender *sender, uint32_t sequence,
                             uint64_t duplicates_taken);
void tw_sender_close(struct tw_sender *sender);

/* ---- privileges.c: from root to an ordinary user --------------------------------------------- */

/* What a responder may keep (linux/capability.h). */
enum tw_capability {
    TW_CAPABILITY_NET_BIND_SERVICE = 10, /* TCP and UDP ports below 1024 */
    TW_CAPABILITY_NET_ADMIN = 12, /* receive buffers above the system's maximum, stamping NICs */
    TW_CAPABILITY_NET_RAW = 13,
    TW_CAPABILITY_SYS_NICE = 23,
    TW_CAPABILITY_PERFMON = 38,
    TW_CAPABILITY_BPF = 39
};

/* Becomes user and group for good.  Of the capabilities, those of keep (1 << number) stay that are
 * permitted now; the others can never come back.  Supplementary groups are the caller's to set,
 * before.  Needs root, and that no thread has been made: capabilities belong to threads.  After an
 * error some of it may have been done. */
int tw_privileges_drop(uint32_t user, uint32_t group, uint64_t keep);
