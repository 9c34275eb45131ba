"""When the machine itself stood still: ``python -m benchmarks.stalls --seconds 60``.

A thread per core of the highest priority sleeps for 2 ms again and again. Nothing else on the
machine can keep it from waking; what does is outside of it, as under a virtual machine, and no
program that carries sound is spared by it. Without the right to such a priority it is a thread
like any other, and tells of busy cores as well.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

SLEEP_S = 0.002
STALL_S = 0.005
"""Lateness that counts: a cycle of PipeWire's is missed."""
PRIORITY = 99

Stalls = list[tuple[float, float]]
"""Begin (monotonic seconds) and length (s) of each."""


@contextmanager
def watched_stalls() -> Iterator[Callable[[], Stalls]]:
    """Watch every core; yields a function that tells the stalls so far, in order."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for core in os.sched_getaffinity(0):
            told = stack.enter_context((folder / f"{core}").open("wb"))
            watch = [sys.executable, "-m", "benchmarks.stalls", "--core", str(core)]
            child = stack.enter_context(subprocess.Popen(watch, stdout=told))
            stack.callback(child.terminate)

        def stalls() -> Stalls:
            lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
            return sorted((float(at), float(late)) for at, late in map(str.split, lines))

        yield stalls


def watch(core: int) -> None:
    """Print the stalls of a core as they come, for ever."""
    os.sched_setaffinity(0, {core})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    while True:
        began = time.monotonic()
        time.sleep(SLEEP_S)
        late = time.monotonic() - began - SLEEP_S
        if late > STALL_S:
            print(f"{began + SLEEP_S:.4f} {late:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--core", type=int, help="watch this one alone, until terminated")
    wanted = parser.parse_args()
    if wanted.core is not None:
        watch(wanted.core)
    with watched_stalls() as stalls:
        time.sleep(wanted.seconds)
        found = [1000 * late for _, late in stalls()]
    longest = f", the longest of {max(found):.0f} ms" if found else ""
    print(f"{len(found)} stalls of more than {1000 * STALL_S:.0f} ms{longest}")


if __name__ == "__main__":
    main()
