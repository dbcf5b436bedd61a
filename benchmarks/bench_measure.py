"""What does measure() cost a sample and figure, and what do the reports add to it?

Beside the engine's table, whose columns are computed in C, the same samples in a list, which are
measured in Python; beside one measure(), a whole run: measured, told as text and as JSON, and judged.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import Any

from benchmarks.bench_codec import nanoseconds
from benchmarks.rounds import interleave, publish
from twamp.endpoint import Endpoint
from twamp.engine.sample_table import SampleTable
from twamp.metrics.measure import Results, measure
from twamp.metrics.sample import Measurement, Sample
from twamp.metrics.threshold import crossed, parse_threshold
from twamp.protocol.timestamps import ntp_from_unix_ns
from twamp.report.json_tree import json_tree
from twamp.report.text import text_summary
from twamp.report.units import Style

# 4 delays, 3 PDV, 3 IPDV, 3 jitters, the lateness, 3 counts of reordering, 2 of duplicates, 4 of
# loss, and 6 counts by value: hops both ways, DSCP, ECN, and the sources of T1 and T4.
FIGURES = 4 + 3 + 3 + 3 + 1
COUNTS = 3 + 2 + 4 + 6
GAP_NS = 100_000
START_NS = 1_800_000_000 * 10**9


def a_session(count: int) -> Measurement:
    """Replies after a millisecond or so (log-normal), some overtaken, one in a thousand lost."""
    random = Random(7)
    samples = []
    for number in range(count):
        t1 = START_NS + number * GAP_NS
        t2 = t1 + int(random.lognormvariate(13.1, 0.3))
        t3 = t2 + random.randrange(5_000, 20_000)
        t4 = t3 + int(random.lognormvariate(13.1, 0.3))
        is_lost = random.random() < 0.001
        stamps = [ntp_from_unix_ns(t1)] + [
            0 if is_lost else ntp_from_unix_ns(t) for t in (t2, t3, t4)
        ]
        samples.append(
            Sample(
                t1=stamps[0],
                t2=stamps[1],
                t3=stamps[2],
                t4=stamps[3],
                sequence_number=number,
                reflector_sequence_number=0 if is_lost else number,
                rank=0 if is_lost else number + 1,
                lateness_ns=random.randrange(20_000),
                sender_error_estimate=0x8107,
                reflector_error_estimate=0 if is_lost else 0x8107,
                sender_ttl=250,
                ttl=251,
                tos=0,
                t1_source=2,
                t4_source=0 if is_lost else 2,
            )
        )
    return Measurement(
        sid=bytes(16),
        source=Endpoint(ip_address("192.0.2.1"), 9000),
        destination=Endpoint(ip_address("192.0.2.2"), 9000),
        samples=ranked(samples),
        loss_timeout_ns=2 * 10**9,
    )


def ranked(samples: Sequence[Sample]) -> list[Sample]:
    """With their ranks in the order of T4, and the reflector's numbers in that of T2."""
    answered = [sample for sample in samples if sample.rank]
    ranks = array("L", bytes(8)) * len(samples)
    numbers = array("L", bytes(8)) * len(samples)
    for rank, sample in enumerate(sorted(answered, key=lambda each: each.t4), 1):
        ranks[sample.sequence_number] = rank
    for number, sample in enumerate(sorted(answered, key=lambda each: each.t2)):
        numbers[sample.sequence_number] = number
    return [
        sample._replace(rank=rank, reflector_sequence_number=number)
        for sample, rank, number in zip(samples, ranks, numbers, strict=True)
    ]


def bench_measure(benchmark: Any) -> None:
    count = 1000 if benchmark.disabled else 100_000
    listed = a_session(count)
    table = replace(listed, samples=SampleTable.of(listed.samples))
    figures = count * FIGURES
    sides = {
        "C": nanoseconds(lambda: measure(table), 1),
        "Python": nanoseconds(lambda: measure(listed), 1),
    }
    rounds = interleave(
        benchmark,
        {
            side: lambda run=run: {"ns_per_sample_and_figure": run()["ns"] / figures}  # type: ignore[misc]
            for side, run in sides.items()
        },
    )
    publish(
        benchmark,
        f"measure(), {count} samples, {FIGURES} figures (and {COUNTS} counts):",
        rounds,
        ("ns_per_sample_and_figure", "C", "Python"),
    )


def bench_reports(benchmark: Any) -> None:
    count = 1000 if benchmark.disabled else 1_000_000
    listed = a_session(count)
    session = replace(listed, samples=SampleTable.of(listed.samples))
    del listed
    thresholds = [
        parse_threshold(text) for text in ("loss>1%", "rtt.p99>5ms", "forward.pdv.p99>3ms")
    ]

    def told() -> None:
        results = Results.of([session])
        text_summary(session, results.total, Style())
        tree = json_tree(results, version="0", configuration={})
        json.dumps(tree | {"failed": [str(each) for each in crossed(thresholds, results.total)]})

    rounds = interleave(
        benchmark,
        {"run": nanoseconds(told, 1), "measure": nanoseconds(lambda: measure(session), 1)},
    )
    publish(
        benchmark,
        f"text, JSON and thresholds of {count} samples:",
        rounds,
        ("ns", "run", "measure"),
    )
