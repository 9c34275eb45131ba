"""The far end is heard, and the echo canceller runs for it."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP
from pipedtln.stream.farend import HANG_SAMPLES, FarEndDetector, FarEndSwitch
from tests.stream.sounds import tone
from tests.stream.test_switch import Network

SOUND = tone(100 * HOP).reshape(-1, HOP)
SILENCE = np.zeros(HOP, dtype=np.float32)


def test_nothing_sounds_before_the_first_sound() -> None:
    detector = FarEndDetector()
    for _ in range(1000):
        detector.hear(SILENCE)
        assert not detector.sounds(held_samples=10**6)


@pytest.mark.parametrize("held", [0, 4800])
def test_far_end_lasts_for_the_hang_time_and_the_hold(held: int) -> None:
    detector = FarEndDetector()
    detector.hear(SOUND[1])
    hops = 0
    while detector.sounds(held):
        detector.hear(SILENCE)
        hops += 1
    assert hops == (HANG_SAMPLES + held) // HOP + 1


def test_switch_follows_its_own_reference_and_forgets_it_on_reset() -> None:
    switch = FarEndSwitch(Network(), [Network(echo=True)])
    out = np.zeros(HOP, dtype=np.float32)
    for i in range(10):
        switch.process(SOUND[i], SILENCE, out)
    assert not switch.uses_reference
    for i in range(10):
        switch.process(SOUND[i], SOUND[i + 1], out)
    assert switch.uses_reference
    switch.reset()
    switch.process(SOUND[0], SILENCE, out)
    assert not switch.uses_reference
