"""Whatever happens on a desktop, in any order: the bridge is well again in seconds."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer
from tests.chaos.world import SECOND, World, count, strays

SHORT_S = 45.0
"""Seconds of random events in the default suite."""


def run(server: PrivateServer, seed: int, *, events: int, seconds: float, stop_s: float) -> None:
    """Let random things happen until there were so many or so much time has passed."""
    rng = random.Random(seed)
    server.plug_microphone(SECOND)
    world = World(server, rng, stop_s)
    happened: list[str] = []
    begin = time.monotonic()
    try:
        world.bridge.start()
        world.start_recording()
        print(f"\n{server.kind}, seed {seed}: start, {world.check()}")
        before = Counter(strays(server.folder, set()))
        while len(happened) < events and time.monotonic() - begin < seconds:
            event = rng.choice(world.events)
            event()
            happened.append(event.__name__)
            print(f"{time.monotonic() - begin:6.1f} s {event.__name__}: {world.check()}")
        world.stop_recording()
        world.check()
        memory, descriptors = world.bridge.memory_mb(), world.bridge.descriptors()
        assert world.bridge.stop() == 0
        print(f"{count(happened)}\n{world.summary()}; {memory:.0f} MB, {descriptors} descriptors")
        left = Counter(strays(server.folder, {world.bridge.pid}))
        new = {command for command in left - before if "pacat" not in command}
        assert new <= set(before), f"stray processes: {new}"
    finally:
        world.close()


def test_short_day(server: PrivateServer, models: Path) -> None:
    run(server, 4, events=60, seconds=SHORT_S, stop_s=1.0)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_long_day(server: PrivateServer, models: Path) -> None:
    run(server, 2026, events=200, seconds=3000.0, stop_s=5.0)
