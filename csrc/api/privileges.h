/* privileges.h: from root to an ordinary user. */
#pragma once
#include "api/types.h"

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
