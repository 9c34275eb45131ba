"""A hold delays by whole hops, exactly, and changes without a click."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.hold import HoldLine


def run(line: HoldLine, sound: Block, changes: dict[int, int]) -> Block:
    out = np.zeros_like(sound)
    for hop in range(len(sound) // HOP):
        if hop in changes:
            line.change(changes[hop])
        block = slice(hop * HOP, (hop + 1) * HOP)
        line.process(sound[block], out[block])
    return out


@pytest.mark.parametrize("hops", [0, 1, 5, 250])
def test_a_hold_is_exact(hops: int) -> None:
    sound = np.random.default_rng(0).standard_normal(300 * HOP).astype(np.float32)
    line = HoldLine(HOP, 250, 1, 4)
    line.reset(hops)
    out = run(line, sound, {})
    assert not out[: hops * HOP].any()
    np.testing.assert_array_equal(out[hops * HOP :], sound[: len(sound) - hops * HOP])
    assert line.source_hop == 299 - hops


@pytest.mark.parametrize("frequency", [100.0, 440.0, 1234.5, 3000.0])
def test_a_change_does_not_click_on_a_tone(frequency: float) -> None:
    time = np.arange(120 * HOP) / SAMPLE_RATE
    tone = (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
    line = HoldLine(HOP, 5, 4, 4)
    out = run(line, tone, {30: 3, 60: 5, 90: 0})
    # a click shows in the third difference, where a steady tone has next to nothing
    steady = np.abs(np.diff(tone, 3)).max()
    changed = np.abs(np.diff(out[8 * HOP :], 3)).max()
    print(f"{frequency} Hz: third difference {steady:.4f} steady, {changed:.4f} with changes")
    assert changed <= 1.1 * steady + 2e-4
    np.testing.assert_array_equal(out[100 * HOP :], tone[100 * HOP :])


def test_frames_across_a_change_have_no_source() -> None:
    sound = np.ones(40 * HOP, np.float32)
    line = HoldLine(HOP, 5, 2, 4)
    seen = []
    for hop in range(40):
        if hop == 20:
            line.change(3)
        block = sound[hop * HOP : (hop + 1) * HOP].copy()
        line.process(block, block)
        seen.append(line.source_hop)
    assert seen[:3] == [None] * 3
    assert seen[3:20] == list(range(3, 20))
    # two hops of fade, then three frames that still hold some of it
    assert seen[20:25] == [None] * 5
    assert seen[25:] == list(range(22, 37))


def test_a_change_within_a_change_waits_for_the_next_call() -> None:
    line = HoldLine(HOP, 10, 3, 4)
    block = np.zeros(HOP, np.float32)
    line.change(4)
    line.process(block, block)
    line.change(9)
    assert line.fading
    assert line.hold_hops == 4


def test_holds_beyond_the_range_are_bounded() -> None:
    line = HoldLine(HOP, 5, 1, 4)
    line.change(99)
    assert line.hold_hops == 5
    line.reset(-3)
    assert line.hold_hops == 0
