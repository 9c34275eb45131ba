"""What a second core brings: ``python -m benchmarks.pipeline``.

Hops are fed as fast as they are taken, plain and pipelined in turns within one run; the figures are
microseconds of wall clock per hop, medians over the rounds, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipedtln.dtln import load_processor
from pipedtln.processor import HOP, Processor

NAMES = ("aec-128-int8", "aec-256-int8", "aec-512-int8")
HOPS = 250
"""Hops in a round: two seconds of sound."""


def round_us(processor: Processor, mic: np.ndarray, ref: np.ndarray) -> float:
    """Microseconds per hop over one round."""
    out = np.empty(HOP, np.float32)
    begin = perf_counter()
    for hop in range(HOPS):
        processor.process(mic[hop], ref[hop], out)
    return (perf_counter() - begin) / HOPS * 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=40)
    wanted = parser.parse_args()
    mic, ref = np.random.default_rng(1).normal(0, 0.1, (2, HOPS, HOP)).astype(np.float32)
    table = Table("model", "plain µs", "pipelined µs", "throughput")
    for name in track(wanted.names, description="measuring"):
        plain, pipelined = load_processor(name), load_processor(name, pipeline=True)
        rounds = [
            (round_us(plain, mic, ref), round_us(pipelined, mic, ref)) for _ in range(wanted.rounds)
        ]
        one, two = (statistics.median(column) for column in zip(*rounds, strict=True))
        gain = statistics.median(a / b for a, b in rounds)
        table.add_row(name, f"{one:.0f}", f"{two:.0f}", f"{gain:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
