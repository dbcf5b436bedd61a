"""Gives up root's rights: the process becomes an ordinary user with a few capabilities."""

import errno
import grp
import os
import pwd
import threading
from collections.abc import Sequence

from twamp.engine.native import check, enum_names, lib
from twamp.errors import ConfigError

CAPABILITIES = enum_names("tw_capability", "TW_CAPABILITY_")  # name -> number

KEPT = ("net_admin", "net_bind_service")  # for receive buffers and stamps, and for ports below 1024


def drop_privileges(
    user: str | None,
    group: str | None,
    keep: Sequence[str] = KEPT,
) -> None:
    """Becomes ``user`` and ``group`` for good, with just the capabilities ``keep`` of those at hand.

    Without ``group`` the user's primary group is used; without either nothing is done.  The supplementary
    groups become the user's, and no program that is run later gets more rights than this process.  Call it
    once, as root, before any thread is started: capabilities belong to threads.

    Raises :class:`~twamp.errors.ConfigError` for a user or a group that does not exist, :class:`OSError`
    when this is not root's process, ValueError for a capability that is not in ``CAPABILITIES``.
    """
    if user is None and group is None:
        return
    capabilities = _bits(keep)
    user_id, group_id = identity(user, group)
    if os.geteuid() != 0:
        raise OSError(errno.EPERM, _not_root(user, group))
    if threading.active_count() != 1:
        raise RuntimeError("privileges are given up before threads are started")
    try:
        if user is None:
            os.setgroups([group_id])
        else:
            os.initgroups(user, group_id)
        check(lib.tw_privileges_drop(user_id, group_id, capabilities))
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot become user {user or user_id}, group {group or group_id}: {error.strerror};"
            " this takes CAP_SETUID, CAP_SETGID and CAP_SETPCAP",
        ) from error


def identity(user: str | None, group: str | None) -> tuple[int, int]:
    """Looks up a user's and a group's numbers: without ``group`` the user's primary one, without both our own.

    Raises :class:`~twamp.errors.ConfigError` for one that does not exist.
    """
    account = None if user is None else _account(user)
    user_id = os.getuid() if account is None else account.pw_uid
    if group is not None:
        return user_id, _group_id(group)
    return user_id, os.getgid() if account is None else account.pw_gid


def _bits(names: Sequence[str]) -> int:
    for name in names:
        if name not in CAPABILITIES:
            raise ValueError(f"{name!r} is none of {', '.join(CAPABILITIES)}")
    return sum(1 << CAPABILITIES[name] for name in set(names))


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):  # no such name; a NUL in it
        raise ConfigError(
            f"user: no such user {user!r}; give one that `getent passwd` lists, or make one with"
            " `useradd --system`"
        ) from None


def _group_id(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):  # no such name; a NUL in it
        raise ConfigError(
            f"group: no such group {group!r}; give one that `getent group` lists, or make one with"
            " `groupadd --system`"
        ) from None


def _not_root(user: str | None, group: str | None) -> str:
    key, name = ("group", group) if user is None else ("user", user)
    return (
        f"{key}: only root can become {name!r}; give --{key} only when started as root"
        " (under systemd User= and Group= do this)"
    )
