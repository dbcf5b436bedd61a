"""What to do about errors of the system, in the words of twping's options."""

import errno

_REMEDIES = {
    errno.ECONNREFUSED: "is a TWAMP Server running there? --control-port names another TCP port",
    errno.EADDRNOTAVAIL: "--source-address must be an address of this machine",
    errno.ENODEV: "`ip link` lists the interfaces",
    errno.EPERM: "--interface needs CAP_NET_RAW where the kernel is older than 5.7",
    errno.ENETUNREACH: "`ip route get` says which way packets would go; -4 and -6 choose",
    errno.EHOSTUNREACH: "`ip route get` says which way packets would go; -4 and -6 choose",
    errno.EMSGSIZE: "--padding must leave room in the path's packets",
    errno.EMFILE: "`ulimit -n` allows too few open files for so many sessions",
}


def explain(error: BaseException) -> str:
    """One line, with the remedy where there is one."""
    if not isinstance(error, OSError):
        return " ".join(str(error).split())
    what = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{what}; {remedy}" if remedy else what
