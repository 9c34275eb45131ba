"""Any card's rate becomes the network's, and back, in step and without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.audio.rates import RateConverter

RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)


def through(converter: RateConverter, sound: np.ndarray, size: int) -> np.ndarray:
    parts = [converter.convert(sound[i : i + size]) for i in range(0, len(sound), size)]
    return np.concatenate(parts)


@pytest.mark.parametrize("card", RATES)
@pytest.mark.parametrize("into", [True, False], ids=["from card", "to card"])
def test_a_tone_keeps_its_level_and_each_chunk_brings_its_share(card: int, into: bool) -> None:
    old, new = (card, 16_000) if into else (16_000, card)
    converter = RateConverter(old, new)
    size = old * 8 // 1000
    sound = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(old) / old).astype(np.float32)
    lengths, out = [], []
    for i in range(0, old - size, size):
        out.append(converter.convert(sound[i : i + size]))
        lengths.append(len(out[-1]))
    print(f"{old} -> {new} Hz: delay {converter.delay_ms:.1f} ms, {min(lengths)}-{max(lengths)}")
    assert max(lengths) - min(lengths) <= 2
    assert abs(sum(lengths) - sum(map(len, out))) == 0
    assert abs(np.mean(lengths) - size * new / old) < 0.2
    assert converter.delay_ms < 35
    steady = np.concatenate(out)[new // 4 :]
    t = np.arange(len(steady)) / new
    wave = 2 * np.mean(steady * np.exp(-2j * np.pi * 1000 * t))
    rest = steady - np.real(wave * np.exp(2j * np.pi * 1000 * t))
    assert abs(wave) == pytest.approx(0.5, rel=0.01)
    assert np.sqrt(np.mean(rest**2)) < 0.5e-3


@pytest.mark.parametrize("size", [1, 127, 384, 4096])
def test_chunks_make_no_difference(size: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 48_000).astype(np.float32)
    whole = through(RateConverter(48_000, 16_000), sound, len(sound))
    assert np.array_equal(through(RateConverter(48_000, 16_000), sound, size), whole)


def test_two_channels_stay_side_by_side() -> None:
    mono = np.random.default_rng(2).normal(0, 0.1, 44_100).astype(np.float32)
    pair = np.stack([mono, mono], axis=1)
    out = through(RateConverter(44_100, 16_000, 2), pair, 353)
    assert out.shape[1] == 2
    assert np.array_equal(out[:, 0], out[:, 1])


def test_the_networks_own_rate_passes_untouched() -> None:
    block = np.ones(128, dtype=np.float32)
    assert RateConverter(16_000, 16_000).convert(block) is block
