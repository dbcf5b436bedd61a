"""What does a histogram cost per sample, and what does it cost to merge and to ask one?

Beside it what is exact and has no bound: appending to a list, and sorting that for a percentile.
"""

from random import Random
from typing import Any

from benchmarks.bench_codec import nanoseconds
from benchmarks.rounds import interleave, publish
from twamp.metrics.histogram import Histogram
from twamp.metrics.values import Distribution

# Round-trip times of a millisecond or so, as they come: log-normal.
RANDOM = Random(7)
VALUES = [int(RANDOM.lognormvariate(13.8, 0.3)) for _ in range(10_000)]


def bench_add(benchmark: Any) -> None:
    def append() -> None:
        values: list[int] = []
        for value in VALUES:
            values.append(value)  # noqa: PERF402 (one by one is the question)

    def add() -> None:
        histogram = Histogram()
        for value in VALUES:
            histogram.add(value)

    count = 1 if benchmark.disabled else 20
    rounds = interleave(
        benchmark, {"add": nanoseconds(add, count), "append": nanoseconds(append, count)}
    )
    publish(benchmark, f"histogram, {len(VALUES)} values added:", rounds, ("ns", "add", "append"))


def bench_merge_and_percentile(benchmark: Any) -> None:
    part, whole = Histogram(VALUES), Histogram(VALUES)
    count = 1 if benchmark.disabled else 20
    rounds = interleave(
        benchmark,
        {
            "merge": nanoseconds(lambda: whole.merge(part), count),
            "percentile": nanoseconds(lambda: part.percentile(99), count),
            "sort": nanoseconds(lambda: Distribution.of(VALUES).percentile(99), count),
        },
    )
    publish(
        benchmark,
        f"histogram, {len(part)} buckets in use:",
        rounds,
        ("ns", "percentile", "sort"),
        ("ns", "merge", "sort"),
    )
