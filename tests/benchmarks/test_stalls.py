"""A machine that stands still is told of."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from itertools import islice, pairwise
from pathlib import Path

from benchmarks.stalls import LONGEST_S, SHORTEST_S, moments

ROOT = Path(__file__).parents[2]


def test_a_core_whose_watch_wakes_late_is_told_with_when_and_how_long() -> None:
    core = str(min(os.sched_getaffinity(0)))
    watch = [sys.executable, "-m", "benchmarks.stalls", "--core", core]
    with subprocess.Popen(watch, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            # Stopped before it watches it has nothing to tell.
            for _ in range(50):
                stopped = time.monotonic()
                child.send_signal(signal.SIGSTOP)
                time.sleep(0.1)
                child.send_signal(signal.SIGCONT)
                told, _, _ = select.select([child.stdout], [], [], 0.2)
                if told:
                    break
            at, late = map(float, child.stdout.readline().split())
        finally:
            child.kill()
    assert abs(at - stopped) < 0.05
    assert 0.09 < late < 0.4


def test_made_stalls_hold_all_cores_at_the_same_moments_as_long_as_they_say() -> None:
    first, second = (list(islice(moments(25.0, 100.0), 200)) for _ in range(2))
    assert first == second
    assert all(SHORTEST_S <= end - begin <= LONGEST_S for begin, end in first)
    apart = [later - sooner for (sooner, _), (later, _) in pairwise(first)]
    assert min(apart) > LONGEST_S
    assert 23 < sum(apart) / len(apart) < 27
