"""Why packets did not come back, as far as the kernel and the replies say, and what to do about it."""

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from twamp.metrics.measure import Results
from twamp.metrics.sample import Measurement

LONG_PADDING = 512  # octets; shorter packets pass every path
MOST_NAMED = 3

# What to do about replies that were dropped, by enum tw_sender_drop.
DROP_REMEDIES = {
    "foreign": "if another address or port of the Server answers, --any-source takes its replies",
    "error_estimate": "--zero-error-estimate accept takes them",
    "hmac": "both ends must use the keys of this session: does something change packets on the way?",
    "echo": "they do not repeat what was sent: forged, or of a reflector that breaks RFC 5357",
    "short": "they are shorter than RFC 5357 section 4.2.1 has them",
}
ICMP_REMEDIES = {
    "port_unreachable": "nobody answers at that port: has the Server ended the session (its REFWAIT, "
    "twampd's --test-inactivity-timeout, must be longer than -i and -z)?",
    "prohibited": "a firewall there forbids these packets",
    "unreachable": "there is no way to that host",
    "other": "`traceroute` shows where packets end",
}
SEND_REMEDIES = {
    errno.EPERM: "a firewall of this host forbids it: see `nft list ruleset`",
    errno.EACCES: "a route or rule of this host prohibits it: see `ip route get`",
    errno.EMSGSIZE: "the packets are longer than the interface takes: lower --padding",
}


def silence(results: Results) -> str:
    """Says why no packet of the run was answered; the firewall is asked about when nothing came at all."""
    sent, measurements = results.total.sent, results.measurements
    dropped = Counter(results.total.drops)
    if results.total.send_errors and not sent:
        return f"no packet could be sent: {_send_error(measurements)}"
    if dropped.total():
        return _dropped(dropped, measurements)
    if results.total.icmp:
        return f"none of {sent} packets came back"  # the remarks say why
    ports = ", ".join(str(each.destination) for each in measurements[:MOST_NAMED])
    more = ", …" if len(measurements) > MOST_NAMED else ""
    return (
        f"none of {sent} packets came back; does a firewall or NAT stop UDP to {ports}{more} or back? "
        f"Through a NAT, try -Z (--zero-addresses){_size_hint(measurements)}"
    )


def remarks(results: Results) -> Iterator[str]:
    """Yields what the user should know of the ways of a run, whether or not packets came back."""
    measurements = results.measurements
    for kind, count in results.total.icmp.items():
        if count:
            yield _icmp(kind, count, measurements)
    fragmented = [each for each in measurements if each.incidents.fragmented]
    if fragmented:
        yield (
            f"packets were sent in fragments: the path's MTU is {fragmented[0].incidents.path_mtu}; "
            "--do-not-fragment sends them whole"
        )
    count = sum(each.incidents.without_estimate for each in measurements)
    if count:
        yield f"{count} replies had an Error Estimate of 0: how good the reflector's clock is, is not known"


def _icmp(kind: str, count: int, measurements: Sequence[Measurement]) -> str:
    incidents = [each.incidents for each in measurements if each.incidents.icmp.get(kind)]
    source = next((each.icmp_source for each in incidents if each.icmp_source is not None), None)
    whence = "" if source is None else f" from {source.address}"
    if kind == "too_big":
        mtu = next((each.path_mtu for each in incidents if each.path_mtu), 0)
        limit = f" (its MTU is {mtu})" if mtu else ""
        return (
            f"{count} packets were too big for the path{limit}, says ICMP{whence}: lower --padding"
        )
    return f"{count} times ICMP{whence} said {kind.replace('_', ' ')}; {ICMP_REMEDIES[kind]}"


def _dropped(dropped: Mapping[str, int], measurements: Sequence[Measurement]) -> str:
    reasons = ", ".join(name for name, count in dropped.items() if count)
    foreign = next(
        (each.incidents.foreign for each in measurements if each.incidents.foreign), None
    )
    whence = f", from {foreign}" if foreign is not None and dropped.get("foreign") else ""
    remedies = [DROP_REMEDIES[name] for name, n in dropped.items() if n and name in DROP_REMEDIES]
    text = f"{sum(dropped.values())} replies came and were dropped: {reasons}{whence}"
    return "; ".join([text, *remedies])


def _send_error(measurements: Sequence[Measurement]) -> str:
    number = next((m.incidents.send_errno for m in measurements if m.incidents.send_errno), 0)
    remedy = SEND_REMEDIES.get(number)
    if not number:
        return "the kernel refused them"
    return os.strerror(number) + (f"; {remedy}" if remedy else "")


def _size_hint(measurements: Sequence[Measurement]) -> str:
    longest = max((each.padding_length for each in measurements), default=0)
    if longest <= LONG_PADDING:
        return ""
    return (
        f"; or are packets with {longest} octets of padding too big for the path? Lower --padding"
    )
