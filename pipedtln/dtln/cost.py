"""Measures what a processor costs on this machine, hop by hop."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np

from pipedtln.processor import Processor

_WARM_UP_HOPS = 25
_LEAST_HOPS = 50
_LEVEL = 0.1


@dataclass(frozen=True)
class Cost:
    """What one hop takes.

    ``cpu_us`` is processor time over all threads, mean; ``median_us`` and ``p99_us`` are by the
    clock, so other programs' work shows in them. ``load`` is the median as a share of the time
    that the hop lasts.
    """

    hops: int
    cpu_us: float
    median_us: float
    p99_us: float
    load: float


def measure_cost(processor: Processor, seconds: float) -> Cost:
    """Run a processor on noise for about so long, without a pause, and reset it."""
    noise = np.random.default_rng(0).standard_normal((2, processor.hop)).astype(np.float32)
    noise *= np.float32(_LEVEL)
    out = np.empty(processor.hop, np.float32)
    for _ in range(_WARM_UP_HOPS):
        processor.process(noise[0], noise[1], out)
    took: list[float] = []
    began, worked = perf_counter(), process_time()
    while len(took) < _LEAST_HOPS or perf_counter() - began < seconds:
        begin = perf_counter()
        processor.process(noise[0], noise[1], out)
        took.append(perf_counter() - begin)
    worked = process_time() - worked
    processor.reset()
    median, p99 = (float(share) for share in np.percentile(took, (50, 99)))
    return Cost(
        hops=len(took),
        cpu_us=worked / len(took) * 1e6,
        median_us=median * 1e6,
        p99_us=p99 * 1e6,
        load=median * processor.sample_rate / processor.hop,
    )
