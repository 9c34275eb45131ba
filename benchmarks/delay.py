"""Compares ways to find the echo delay: ``python -m benchmarks.delay``.

Each way gives one score per lag and hop from the same power spectra; all are averaged alike and
judged alike, so that what is compared is the feature: the binary spectrum of WebRTC's estimator,
log-band levels, their signs, GCC-like whitening, and the spectral flux that pipedtln uses. The
last row is :class:`pipedtln.stream.delay.DelayEstimator` itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.scenes import (
    RATE,
    Sound,
    clipped,
    mixed,
    music_like,
    random_room,
    rms,
    speech_like,
)
from pipedtln.processor import FRAME, HOP
from pipedtln.stream.delay import MAX_LAG, MIN_LAG, DelayEstimator
from pipedtln.stream.flux import band_matrix

Array = NDArray[np.float32]
Feature = Callable[[Array], Array]

SECONDS = 8.0
MEMORY = 110.0
LAGS = MAX_LAG - MIN_LAG + 1
KINDS = (
    "clean",
    "noise 0 dB",
    "double talk",
    "loud near end",
    "clipped",
    "volume",
    "music",
    "music, double talk",
)


@dataclass(frozen=True)
class Case:
    """Spectra of one scene and the truth, in hops."""

    kind: str
    mic: Array
    ref: Array
    delay: float


def powers(sound: Sound) -> Array:
    """Power spectra as the network computes them, shape (hops, 257)."""
    padded = np.concatenate((np.zeros(FRAME - HOP, np.float32), sound))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    return np.square(np.abs(np.fft.rfft(frames, axis=1))).astype(np.float32)


def make(kind: str, seed: int) -> Case:
    """One simulated case of a kind, at a random delay of -30 ms to 1 s in a random room."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    ref = music_like(rng, SECONDS) if "music" in kind else speech_like(rng, SECONDS)
    delay_ms = rng.uniform(-30, 1000)
    room = random_room(rng, rng.uniform(0.15, 0.6), rng.uniform(-6, 6))
    gain = {"double talk": 0.5, "music, double talk": 0.5, "loud near end": 1.0}.get(kind)
    scene = mixed(
        rng,
        ref,
        room,
        delay_ms,
        near=None if gain is None else speech_like(rng, SECONDS) * gain,
        played=clipped(ref) if kind == "clipped" else None,
        snr_db=0.0 if "noise" in kind else 25.0,
    )
    mic = scene.mic
    if kind == "volume":
        mic = mic * np.repeat(10 ** (rng.uniform(-15, 5, int(2 * SECONDS)) / 20), RATE // 2)
    return Case(kind, powers(mic.astype(np.float32)), powers(ref), delay_ms / 8)


def recorded(folder: Path) -> list[Case]:
    """Real recordings ``*_mic.wav`` beside ``*_lpb.wav``; the truth by their cross-correlation."""
    cases = []
    for mic_path in sorted(folder.glob("*talk_mic.wav")):
        mic, _ = sf.read(mic_path, dtype="float32")
        ref, _ = sf.read(mic_path.with_name(mic_path.name.replace("_mic", "_lpb")), dtype="float32")
        if rms(ref) < 1e-3:
            continue
        count = min(len(mic), len(ref))
        cross = np.fft.rfft(mic[:count], 2**19) * np.conj(np.fft.rfft(ref[:count], 2**19))
        peak = np.abs(np.fft.irfft(cross / (np.abs(cross) + 1e-3)))[: 2 * RATE].argmax()
        cases.append(Case("recorded", powers(mic[:count]), powers(ref[:count]), peak / HOP))
    return cases


def leaky(levels: Array, rate: float) -> Array:
    """Running mean over hops."""
    mean = np.empty_like(levels)
    state = levels[0].copy()
    for hop, level in enumerate(levels):
        state += (level - state) * max(rate, 1 / (hop + 1))
        mean[hop] = state
    return mean


def log_bands(power: Array, bands: int) -> Array:
    """Band levels in dB."""
    decibels: Array = 4.34 * np.log(power @ band_matrix(257, RATE, bands) + 1e-6)
    return decibels


def binary_spectrum(power: Array) -> Array:
    """32 bands of 94 Hz from 250 Hz, each above or below its running mean (WebRTC)."""
    bands = power[:, 8:104].reshape(len(power), 32, 3).mean(axis=2)
    return np.where(bands > leaky(bands, 1 / 64), 1.0, -1.0).astype(np.float32)


def binary_wide(power: Array) -> Array:
    """The same over 32 mel bands up to 6.5 kHz."""
    bands = power @ band_matrix(257, RATE, 32)
    return np.where(bands > leaky(bands, 1 / 64), 1.0, -1.0).astype(np.float32)


def whitened(power: Array) -> Array:
    """Log levels over their running mean, less the mean over bands."""
    levels = log_bands(power, 40)
    levels = levels - leaky(levels, 1 / 32)
    levels -= levels.mean(axis=1, keepdims=True)
    return levels


def signs(power: Array) -> Array:
    """Only the sign of the whitened levels: all magnitude thrown away, as PHAT does."""
    return np.sign(whitened(power)).astype(np.float32)


def flux(power: Array) -> Array:
    """What :class:`pipedtln.stream.flux.FluxTrack` computes, over a whole recording."""
    levels = log_bands(power, 40)
    change = np.zeros_like(levels)
    change[2:] = levels[2:] - levels[:-2]
    change -= 0.5 * change.mean(axis=1, keepdims=True)
    return np.tanh(change / 6).astype(np.float32)


def averaged_peaks(case: Case, feature: Feature) -> Array:
    """Best lag in hops after each hop, by a running mean over active reference frames."""
    mics, refs = feature(case.mic), feature(case.ref)
    levels = case.ref.mean(axis=1)
    active = (levels > levels.max() * 10**-3.5).astype(np.float32)
    padding = ((MAX_LAG, -MIN_LAG), (0, 0))
    padded, weights = np.pad(refs, padding), np.pad(active, (MAX_LAG, -MIN_LAG))
    mean = np.zeros((3, LAGS), np.float32)
    count = np.zeros(LAGS, np.float32)
    peaks = np.zeros(len(mics), np.float32)
    for hop, mic in enumerate(mics):
        # newest reference frame first: lags rise from MIN_LAG on
        window = padded[hop : hop + LAGS][::-1]
        weight = weights[hop : hop + LAGS][::-1]
        count = np.minimum(count + weight, MEMORY)
        new = np.stack((window @ mic, np.full(LAGS, mic @ mic), (window * window).sum(axis=1)))
        mean += (new - mean) * (weight / np.maximum(count, 1))
        score = mean[0] / np.sqrt(mean[1] * mean[2] + 1e-4) * np.minimum(count / 45, 1)
        peaks[hop] = score.argmax() + MIN_LAG
    return peaks


def estimator_peaks(case: Case) -> Array:
    """What pipedtln's estimator said after each hop; -99 for nothing."""
    estimator = DelayEstimator()
    said = np.full(len(case.mic), -99.0, np.float32)
    for hop in range(len(case.mic)):
        estimator.update(case.mic[hop], hop, case.ref[hop], hop)
        if estimator.delay_hops is not None:
            said[hop] = estimator.delay_hops
    return said


WAYS: dict[str, Callable[[Case], Array]] = {
    "binary spectrum": lambda case: averaged_peaks(case, binary_spectrum),
    "binary, 32 mel bands": lambda case: averaged_peaks(case, binary_wide),
    "log levels": lambda case: averaged_peaks(case, whitened),
    "signs of log levels": lambda case: averaged_peaks(case, signs),
    "spectral flux": lambda case: averaged_peaks(case, flux),
    "pipedtln": estimator_peaks,
}


def right(case: Case, peaks: Array) -> float:
    """Share of hops within 16 ms of the truth, from 1.2 s after the echo begins."""
    start = int(max(case.delay, 0)) + 150
    return float(np.mean(np.abs(peaks[start:] - case.delay) <= 2))


def cost_us(case: Case) -> float:
    """Microseconds that the estimator takes per hop."""
    estimator = DelayEstimator()
    started = perf_counter()
    for hop in range(len(case.mic)):
        estimator.update(case.mic[hop], hop, case.ref[hop], hop)
    return (perf_counter() - started) / len(case.mic) * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8, help="scenes of each kind")
    parser.add_argument("--recordings", type=Path, default=Path("../shared/audio"))
    options = parser.parse_args()
    console = Console(width=160)
    cases = [make(kind, seed) for kind in KINDS for seed in range(options.seeds)]
    cases += recorded(options.recordings)
    kinds = list(dict.fromkeys(case.kind for case in cases))
    table = Table("right to 16 ms, %", *kinds, "worst scene")
    for name, way in WAYS.items():
        shares = [
            right(case, way(case)) for case in track(cases, name, console=console, transient=True)
        ]
        means = [
            np.mean([s for s, c in zip(shares, cases, strict=True) if c.kind == kind])
            for kind in kinds
        ]
        table.add_row(name, *(f"{100 * mean:.0f}" for mean in means), f"{100 * min(shares):.0f}")
    console.print(table)
    console.print(f"DelayEstimator: {min(cost_us(case) for case in cases[:5]):.0f} us per hop")


if __name__ == "__main__":
    main()
