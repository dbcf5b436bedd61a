/* privileges.c: the way from root to an ordinary user that keeps a few capabilities.  Raw system
 * calls: a library for two of them is not worth having. */
#define _GNU_SOURCE 1 /* setresuid, setresgid */
#include "api/privileges.h"
#include "kernel/missing.h"

#include <assert.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#define CAPABILITIES 64 /* what two words of 32 bits can hold; the kernel knows fewer */

static_assert((int)TW_CAPABILITY_NET_BIND_SERVICE == CAP_NET_BIND_SERVICE, "as the kernel's");
static_assert((int)TW_CAPABILITY_NET_ADMIN == CAP_NET_ADMIN, "as the kernel's");
static_assert((int)TW_CAPABILITY_NET_RAW == CAP_NET_RAW, "as the kernel's");
static_assert((int)TW_CAPABILITY_SYS_NICE == CAP_SYS_NICE, "as the kernel's");
static_assert((int)TW_CAPABILITY_PERFMON == CAP_PERFMON, "as the kernel's");
static_assert((int)TW_CAPABILITY_BPF == CAP_BPF, "as the kernel's");

static int control(int operation, unsigned long first, unsigned long second)
{
    const int result = prctl(operation, first, second, 0ul, 0ul);

    return result < 0 ? -errno : result;
}

/* While there is CAP_SETPCAP. */
static int limit_bounding_set(uint64_t keep)
{
    for (unsigned long capability = 0; capability < CAPABILITIES; capability++) {
        const int bound = control(PR_CAPBSET_READ, capability, 0);

        if (bound < 0) /* past the kernel's last one */
            break;
        if (bound > 0 && !(keep >> capability & 1)) {
            const int result = control(PR_CAPBSET_DROP, capability, 0);

            if (result < 0)
                return result;
        }
    }
    return 0;
}

/* KEEPCAPS: without it the last step out of root would take all capabilities. */
static int become(uint32_t user, uint32_t group)
{
    int result = control(PR_SET_KEEPCAPS, 1, 0);

    if (result == 0 && setresgid(group, group, group) < 0)
        result = -errno;
    if (result == 0 && setresuid(user, user, user) < 0)
        result = -errno;
    if (result == 0)
        result = control(PR_SET_KEEPCAPS, 0, 0);
    return result;
}

/* Nothing is inheritable, which empties the ambient set, too. */
static int limit_capabilities(uint64_t keep)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct words[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, words) < 0)
        return -errno;
    for (unsigned word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
        words[word].permitted &= (uint32_t)(keep >> 32 * word);
        words[word].effective = words[word].permitted;
        words[word].inheritable = 0;
    }
    return syscall(SYS_capset, &header, words) < 0 ? -errno : 0;
}

int tw_privileges_drop(uint32_t user, uint32_t group, uint64_t keep)
{
    int result = limit_bounding_set(keep);

    if (result == 0)
        result = become(user, group);
    if (result == 0)
        result = limit_capabilities(keep);
    if (result == 0)
        result = control(PR_SET_NO_NEW_PRIVS, 1, 0);
    return result;
}
