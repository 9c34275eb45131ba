"""Alignment of a recording serves it from its first hop, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from benchmarks.scenes import (
    RATE,
    Sound,
    at_level,
    convolve,
    mixed,
    random_room,
    shifted,
    speech_like,
)
from pipedtln.processor import HOP
from pipedtln.stream.lookahead import FIRST_LOOK, Pair, align_ahead


def hops(mic: Sound, ref: Sound) -> Iterator[Pair]:
    for start in range(0, len(mic) - HOP + 1, HOP):
        yield mic[start : start + HOP], ref[start : start + HOP]


def aligned(mic: Sound, ref: Sound) -> tuple[Sound, Sound]:
    pairs = list(align_ahead(hops(mic, ref)))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def lead_ms(moved: Sound, source: Sound, start: int, delay_ms: int) -> float | None:
    """How far half a second of the moved reference leads an echo that lags its source."""
    part = slice(start, start + RATE // 2)
    for hold in range(-100, 300):
        if moved[part].any() and np.array_equal(moved[part], shifted(source, hold * HOP)[part]):
            return delay_ms - hold * 8.0
    return None


@pytest.mark.parametrize("delay_ms", [-30, 0, 25, 150, 1000])
def test_the_reference_leads_from_the_first_hop_on(delay_ms: int) -> None:
    rng = np.random.default_rng(delay_ms + 99)
    scene = mixed(rng, speech_like(rng, 6.0), random_room(rng, 0.25, 3.0), delay_ms)
    mic, ref = aligned(scene.mic, scene.ref)
    whole = len(scene.mic) // HOP * HOP
    np.testing.assert_array_equal(mic, scene.mic[:whole])
    # before that the moved reference is silent, as the echo is
    begin = max(delay_ms, 0) * 16
    starts = range(begin, 5 * RATE, RATE // 2)
    leads = [lead_ms(ref, scene.ref, start, delay_ms) for start in starts]
    print(f"{delay_ms} ms: leads in ms every half second: {leads}")
    known = [lead for lead in leads if lead is not None]
    assert leads[0] is not None
    # a stretch that a change falls into matches at no lead
    assert len(known) >= len(leads) - 2
    assert 8 <= min(known) <= max(known) <= 42


def test_a_changed_path_is_met_where_it_changes() -> None:
    rng = np.random.default_rng(1)
    source = speech_like(rng, 12.0)
    response = random_room(rng, 0.25, 3.0)
    half = len(source) // 2
    mic = convolve(shifted(source, 50 * 16), response)
    mic[half:] = convolve(shifted(source, 400 * 16), response)[half:]
    _, ref = aligned(at_level(mic), source)
    for centre, delay_ms in ((half - RATE, 50), (half + RATE, 400)):
        lead = lead_ms(ref, source, centre - RATE // 4, delay_ms)
        assert lead is not None, f"not aligned to {delay_ms} ms a second from the change"
        assert 8 <= lead <= 42


def test_no_far_end_passes_as_it_is() -> None:
    mic = speech_like(np.random.default_rng(2), 5.0)
    ref = np.zeros_like(mic)
    got_mic, got_ref = aligned(mic, ref)
    np.testing.assert_array_equal(got_mic, mic[: len(got_mic)])
    assert not got_ref.any()


@pytest.mark.parametrize("count", [0, 1, 5, FIRST_LOOK, FIRST_LOOK + 1])
def test_as_many_hops_come_out_as_went_in(count: int) -> None:
    sound = np.random.default_rng(3).standard_normal(count * HOP).astype(np.float32)
    assert len(list(align_ahead(hops(sound, sound)))) == count


def test_memory_is_bounded() -> None:
    taken = 0

    def endless() -> Iterator[Pair]:
        nonlocal taken
        rng = np.random.default_rng(4)
        while True:
            taken += 1
            noise = rng.standard_normal(HOP).astype(np.float32)
            yield noise, noise

    given = sum(1 for _ in islice(align_ahead(endless()), 2000))
    assert taken - given <= FIRST_LOOK + 1
