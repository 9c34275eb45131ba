"""When the machine itself stood still: ``python -m benchmarks.stalls --seconds 60``.

A thread per core of the highest priority sleeps for 2 ms again and again. Nothing else on the
machine can keep it from waking; what does is outside of it, as under a virtual machine, and no
program that carries sound is spared by it. Without the right to such a priority it is a thread
like any other, and tells of busy cores as well.

Stalls can be made as well, by threads of that priority that hold all cores at once: a calm machine
shows no more of how sound outlives them than a lucky day.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

SLEEP_S = 0.002
STALL_S = 0.005
"""Lateness that counts: a cycle of PipeWire's is missed."""
PRIORITY = 99
SHORTEST_S, LONGEST_S = 0.008, 0.025
"""How long a made stall lasts: some cycles, and no more than a margin may cover."""

Stalls = list[tuple[float, float]]
"""Begin (monotonic seconds) and length (s) of each."""


@contextmanager
def watched_stalls() -> Iterator[Callable[[], Stalls]]:
    """Watch every core; yields a function that tells the stalls so far, in order."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for core in os.sched_getaffinity(0):
            told = stack.enter_context((folder / f"{core}").open("wb"))
            _start(stack, f"--core {core}", told)

        def stalls() -> Stalls:
            lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
            return sorted((float(at), float(late)) for at, late in map(str.split, lines))

        yield stalls


def _start(stack: ExitStack, options: str, told: IO[bytes] | None = None) -> None:
    """Have a process of its own do it, until the stack is left."""
    command = [sys.executable, "-m", "benchmarks.stalls", *options.split()]
    child = stack.enter_context(subprocess.Popen(command, stdout=told))
    stack.callback(child.terminate)


def _go_first(core: int) -> None:
    """Run on this core alone, before all others."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))


def watch(core: int) -> None:
    """Print the stalls of a core as they come, for ever."""
    with suppress(PermissionError):
        _go_first(core)
    while True:
        began = time.monotonic()
        time.sleep(SLEEP_S)
        late = time.monotonic() - began - SLEEP_S
        if late > STALL_S:
            print(f"{began + SLEEP_S:.4f} {late:.4f}", flush=True)


@contextmanager
def made_stalls(every_s: float) -> Iterator[None]:
    """Hold all cores for 8 to 25 ms, each time anew after ``every_s`` on average; the same ones
    each time. They are told as stalls of the machine. Takes the right to real-time priority.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        for core in os.sched_getaffinity(0):
            _start(stack, f"--hold {core} --every {every_s} --began {began}")
        yield


def moments(every_s: float, began: float) -> Iterator[tuple[float, float]]:
    """When stalls that are made begin and end, in seconds: the same ones for every core."""
    chance = random.Random(1)
    at = began
    while True:
        at += every_s * chance.uniform(0.7, 1.3)
        yield at, at + chance.uniform(SHORTEST_S, LONGEST_S)


def hold(core: int, every_s: float, began: float) -> None:
    """Hold a core at these moments, as long as whoever started it lives."""
    parent = os.getppid()
    _go_first(core)
    for begin, end in moments(every_s, began):
        time.sleep(max(0.0, begin - time.monotonic()))
        if os.getppid() != parent:
            return
        while time.monotonic() < end:
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--core", type=int, help="watch this one alone, until terminated")
    parser.add_argument("--hold", type=int, help="make stalls of this core, until terminated")
    parser.add_argument("--every", type=float, default=25.0, help="seconds between made stalls")
    parser.add_argument("--began", type=float, default=time.monotonic(), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.core is not None:
        watch(wanted.core)
    if wanted.hold is not None:
        hold(wanted.hold, wanted.every, wanted.began)
    with watched_stalls() as stalls:
        time.sleep(wanted.seconds)
        found = [1000 * late for _, late in stalls()]
    longest = f", the longest of {max(found):.0f} ms" if found else ""
    print(f"{len(found)} stalls of more than {1000 * STALL_S:.0f} ms{longest}")


if __name__ == "__main__":
    main()
