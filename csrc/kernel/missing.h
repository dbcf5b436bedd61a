/* missing.h: constants that headers of older kernels lack. */
#pragma once
#include <netinet/udp.h>
#include <sys/socket.h>
#include <linux/capability.h>

#ifndef MSG_PROBE /* the kernel's alone: everything of a send but the sending */
#define MSG_PROBE 0x10
#endif
#ifndef SO_MEMINFO /* Linux 4.12 */
#define SO_MEMINFO 55
#endif
#ifndef SCM_TIMESTAMPING_PKTINFO /* 4.13 */
#define SCM_TIMESTAMPING_PKTINFO 58
#endif
#ifndef UDP_SEGMENT /* 4.18 */
#define UDP_SEGMENT 103
#endif
#ifndef SO_BINDTOIFINDEX /* 5.1 */
#define SO_BINDTOIFINDEX 62
#endif
#ifndef SO_TIMESTAMPING_OLD /* 5.1 */
#define SO_TIMESTAMPING_OLD 37
#endif
#ifndef SO_TIMESTAMPING_NEW /* 5.1 */
#define SO_TIMESTAMPING_NEW 65
#endif
#ifndef CAP_PERFMON /* 5.8 */
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF /* 5.8 */
#define CAP_BPF 39
#endif
