"""Listeners on the engine's hops."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP
from pipedtln.stream.tap import FLOOR_DBFS, LevelMeter, Recorder
from tests.stream.sounds import tone


def test_levels_are_rms_in_dbfs() -> None:
    meter = LevelMeter()
    assert meter.levels() == (FLOOR_DBFS, FLOOR_DBFS, FLOOR_DBFS)
    sound = tone(200 * HOP, 1000.0, 1.0).reshape(-1, HOP)
    for hop in sound:
        meter.hear(hop, np.float32(0.1) * hop, np.zeros(HOP, dtype=np.float32))
    mic, ref, out = meter.levels()
    assert mic == pytest.approx(-3.01, abs=0.1)
    assert ref == pytest.approx(-23.01, abs=0.1)
    assert out == FLOOR_DBFS


def test_recorder_keeps_the_three_side_by_side_and_then_stops() -> None:
    recorder = Recorder(seconds=0.08)
    sound = np.arange(20 * HOP, dtype=np.float32).reshape(-1, HOP)
    for hop in sound[:4]:
        recorder.hear(hop, hop + 1, hop + 2)
    assert recorder.sound().shape == (3, 4 * HOP)
    assert not recorder.full
    for hop in sound[4:]:
        recorder.hear(hop, hop + 1, hop + 2)
    assert recorder.full
    expected = sound[:10].ravel()
    assert np.array_equal(recorder.sound(), np.stack([expected, expected + 1, expected + 2]))
