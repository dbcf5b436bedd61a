"""From root to an ordinary user, for good, each time in a process of its own."""

import errno
import json
import os
import pwd
import subprocess
import sys
from typing import Any

import pytest

from twamp.engine.privileges import CAPABILITIES, drop_privileges
from twamp.errors import ConfigError

root = pytest.mark.root
# Every test below as root is a process that begins with more groups than it may keep.
BEGIN = """
import errno, json, os, socket, sys, threading
from twamp.engine.privileges import drop_privileges
def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
def error_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0
os.setgroups([0, 1, 2, 3])
"""


def run_as_root(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bits(*names: str) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


def capabilities(status: dict[str, str]) -> dict[str, int]:
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return {name: int(status[name], 16) for name in names}


def exactly(kept: int) -> dict[str, int]:
    return {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": 0}


NOBODY = pwd.getpwnam("nobody")
BOTH = bits("net_admin", "net_bind_service")


@root
def test_the_user_gets_the_ids_the_groups_and_two_capabilities() -> None:
    before, after = run_as_root(
        "before = status(); drop_privileges('nobody', None); print(json.dumps([before, status()]))"
    )
    assert after["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert after["Gid"].split() == [str(NOBODY.pw_gid)] * 4
    assert before["Groups"].split() == ["0", "1", "2", "3"]
    groups = os.getgrouplist("nobody", NOBODY.pw_gid)
    assert sorted(map(int, after["Groups"].split())) == sorted(groups)
    assert capabilities(after) == exactly(BOTH & capabilities(before)["CapPrm"])
    assert (before["NoNewPrivs"], after["NoNewPrivs"]) == ("0", "1")


@root
def test_a_group_goes_before_the_users_own() -> None:
    after = run_as_root("drop_privileges('nobody', 'daemon'); print(json.dumps(status()))")
    assert after["Uid"].split() == [str(NOBODY.pw_uid)] * 4
    assert after["Gid"].split() == ["1"] * 4
    assert after["Groups"].split() == ["1"]


@root
def test_a_group_alone_leaves_the_user_and_takes_the_rest() -> None:
    after = run_as_root("drop_privileges(None, 'daemon'); print(json.dumps(status()))")
    assert after["Uid"].split() == ["0"] * 4
    assert after["Gid"].split() == ["1"] * 4
    assert after["Groups"].split() == ["1"]
    assert capabilities(after) == exactly(BOTH)


@root
@pytest.mark.parametrize("keep", [(), ("net_raw",), ("bpf", "perfmon", "sys_nice", "bpf")])
def test_just_those_asked_for_stay(keep: tuple[str, ...]) -> None:
    after = run_as_root(f"drop_privileges('nobody', None, {keep!r}); print(json.dumps(status()))")
    assert capabilities(after) == exactly(bits(*set(keep)))


@root
def test_there_is_no_way_back() -> None:
    errors = run_as_root(
        """
drop_privileges("nobody", None)
calls = (os.setuid, 0), (os.setresuid, 0, 0, 0), (os.setgid, 0), (os.setgroups, [0])
print(json.dumps([error_of(*call) for call in calls]))
"""
    )
    assert errors == [errno.EPERM] * 4


@root
def test_the_ports_below_1024_stay_with_their_capability_and_go_without() -> None:
    script = """
drop_privileges("nobody", None, {keep})
listener = socket.socket()
for port in range(1023, 600, -1):  # a port may be taken
    result = error_of(listener.bind, ("127.0.0.1", port))
    if result != errno.EADDRINUSE:
        break
print(json.dumps(result))
"""
    assert run_as_root(script.format(keep=["net_bind_service"])) == 0
    assert run_as_root(script.format(keep=["net_admin"])) == errno.EACCES


@root
def test_the_clock_can_still_be_read() -> None:
    """Whatever the user, the Error Estimate is the kernel's."""
    before, after = run_as_root(
        """
from twamp.engine.native import lib
before = lib.tw_clock_error_estimate(0) >> 15
drop_privileges("nobody", None)
print(json.dumps([before, lib.tw_clock_error_estimate(0) >> 15]))
"""
    )
    assert before == after


@root
def test_nothing_is_done_without_a_user_and_a_group() -> None:
    before, after = run_as_root(
        "before = status(); drop_privileges(None, None); print(json.dumps([before, status()]))"
    )
    for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs"):
        assert before[name] == after[name]


@root
def test_who_is_not_root_is_told_so() -> None:
    number, text = run_as_root(
        """
os.setuid(65534)
try:
    drop_privileges("nobody", None)
except OSError as error:
    print(json.dumps([error.errno, error.strerror]))
"""
    )
    assert number == errno.EPERM
    assert "give --user only when started as root" in text


@root
def test_root_without_its_capabilities_is_told_so() -> None:
    number, text = run_as_root(
        """
import ctypes
ctypes.CDLL(None).prctl(24, 8, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SETPCAP: leaves with the next program
os.execv(sys.executable, [sys.executable, "-c", '''
import json
from twamp.engine.privileges import drop_privileges
try:
    drop_privileges("nobody", None)
except OSError as error:
    print(json.dumps([error.errno, error.strerror]))
'''])
"""
    )
    assert number == errno.EPERM
    assert "cannot become user nobody" in text
    assert "CAP_SETPCAP" in text


@root
def test_a_second_thread_is_a_mistake() -> None:
    assert run_as_root(
        """
wait = threading.Event()
threading.Thread(target=wait.wait).start()
try:
    drop_privileges("nobody", None)
except RuntimeError:
    print(json.dumps(os.getuid() == 0))
wait.set()
"""
    )


@pytest.mark.parametrize("name", ["no-such-name", "", "no\0body", "ü" * 100])
def test_who_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^user: no such user .*useradd"):
        drop_privileges(name, None)
    with pytest.raises(ConfigError, match=r"^group: no such group .*groupadd"):
        drop_privileges(None, name)


def test_an_unknown_capability_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'sys_admin' is none of net_bind_service, "):
        drop_privileges("nobody", None, ["sys_admin"])
