"""The double keeps to the contract of a session."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.audio.api import Route
from pipedtln.audio.memory import MemoryBackend
from pipedtln.errors import DeviceNotFoundError, ServerError

ROUTE = Route(mic="mic", out="out", ref="ref")


def nothing() -> None:
    """Wake nobody."""


def ramp(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_unknown_device_and_silent_server_are_told() -> None:
    backend = MemoryBackend()
    with pytest.raises(DeviceNotFoundError, match="headset"):
        backend.open(Route(mic="headset", out="out"), nothing)
    backend.answers = False
    with pytest.raises(ServerError):
        backend.open(ROUTE, nothing)


def test_arrivals_fill_the_rings_and_wake() -> None:
    wakes: list[int] = []
    session = MemoryBackend().open(ROUTE, lambda: wakes.append(session.mic.readable))
    session.deliver(ramp(0, 128), ramp(0, 100))
    assert wakes == [128]
    assert session.ref.readable == 100
    session.fail("gone")
    assert session.failure == "gone"
    assert len(wakes) == 2


def test_output_is_bound_to_the_devices_time() -> None:
    session = MemoryBackend().open(ROUTE, nothing)
    session.take(100)
    assert session.queued() == -100
    assert session.underruns == 0
    session.jump(150)
    assert session.queued() == 50
    session.write(ramp(1, 100))
    assert session.queued() == 150
    taken = session.take(200)
    assert not taken[:50].any()
    assert np.array_equal(taken[50:150], ramp(1, 100))
    assert not taken[150:].any()
    assert session.underruns == 1
    session.write(ramp(1, 80))
    assert session.queued() == 30
    assert np.array_equal(session.take(30), ramp(51, 30))


def test_close_ends_every_session() -> None:
    backend = MemoryBackend()
    session = backend.open(ROUTE, nothing)
    backend.close()
    assert session.closed
