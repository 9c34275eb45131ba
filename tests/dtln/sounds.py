"""Sounds that move the networks: talk-like harmonics with pauses, noise, and an echo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipedtln.processor import HOP, SAMPLE_RATE, Processor

Samples = NDArray[np.float32]


def scene(seconds: float, seed: int = 7) -> tuple[Samples, Samples]:
    """Microphone (near end, noise, echo) and reference, whole hops, float32."""
    rng = np.random.default_rng(seed)
    n = int(seconds * SAMPLE_RATE) // HOP * HOP
    near = _talk(n, 140.0, rng)
    ref = _talk(n, 210.0, rng)
    room = rng.normal(size=400) * np.exp(-np.arange(400) / 80.0)
    echo = np.convolve(np.concatenate((np.zeros(320), ref)), room / np.abs(room).sum())[:n]
    mic = near + 0.7 * echo + 0.01 * rng.normal(size=n)
    return mic.astype(np.float32), ref.astype(np.float32)


def stream(processor: Processor, mic: Samples, ref: Samples) -> Samples:
    """Run whole hops through a processor."""
    out = np.empty(len(mic) // HOP * HOP, np.float32)
    for start in range(0, len(out), HOP):
        hop = slice(start, start + HOP)
        processor.process(mic[hop], ref[hop], out[hop])
    return out


def snr_db(wanted: Samples, got: Samples) -> float:
    """Power of ``wanted`` over that of the difference."""
    error = float(np.sum((wanted.astype(float) - got) ** 2))
    return float(10 * np.log10(np.sum(wanted.astype(float) ** 2) / max(error, 1e-30)))


def _talk(n: int, pitch: float, rng: np.random.Generator) -> NDArray[np.float64]:
    t = np.arange(n) / SAMPLE_RATE
    bend = pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)))
    angle = 2 * np.pi * np.cumsum(bend) / SAMPLE_RATE
    voice = sum(np.sin(k * angle) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6)), 0, None)
    phrases = np.sin(2 * np.pi * 0.4 * t + rng.uniform(0, 6)) > -0.3
    return np.asarray(0.1 * voice * syllables * phrases)
