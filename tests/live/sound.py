"""Plays and records on a private server, and measures what came through."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import correlate

from pipedtln.demo.apps import Recording
from pipedtln.processor import SAMPLE_RATE

Sound = NDArray[np.float32]

SPEECH = Path(__file__).parents[2] / "pipedtln" / "demo" / "audio"


def speech(talker: str, seconds: float) -> Sound:
    """That much of the ``"near"`` or ``"far"`` talker, repeated where need be, without pauses."""
    sound = soundfile.read(SPEECH / f"{talker}.flac", dtype="float32")[0] * np.float32(0.4)
    hops = sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)
    talking = hops[(hops**2).mean(axis=1) > 1e-6].reshape(-1)
    repeats = int(np.ceil(seconds * SAMPLE_RATE / len(talking)))
    return np.tile(talking, repeats)[: round(seconds * SAMPLE_RATE)]


def level_db(sound: Sound) -> float:
    """RMS in dBFS."""
    return 10 * float(np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-12))


def talking(sound: Sound, after_s: float) -> NDArray[np.intp]:
    """Indexes of the hops of 100 ms with sound, from so many seconds after the first one on."""
    size = SAMPLE_RATE // 10
    hops = sound[: len(sound) // size * size].reshape(-1, size)
    loud = (hops**2).mean(axis=1) > 1e-6
    loud[: int(np.argmax(loud)) + round(10 * after_s)] = False
    assert loud.sum() >= 20, "the microphone heard too little of it"
    return np.flatnonzero(np.repeat(loud, size))


def lag(late: Sound, early: Sound, most_s: float = 2.0) -> tuple[int, float]:
    """Samples by which ``late`` lies behind ``early``, and the correlation there."""
    count = min(len(late), len(early))
    late, early = late[:count], early[:count]
    reach = round(most_s * SAMPLE_RATE)
    products = correlate(late, early, "full", "fft")[count - 1 - reach : count + reach]
    best = int(np.argmax(products)) - reach
    a, b = overlap(late, early, best)
    return best, float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b) + 1e-12))


def overlap(late: Sound, early: Sound, by: int) -> tuple[Sound, Sound]:
    """Both cut to where they tell of the same sound."""
    late, early = (late[by:], early) if by >= 0 else (late, early[-by:])
    count = min(len(late), len(early))
    return late[:count], early[:count]


class Arrivals:
    """When the samples of recordings arrive: a common clock for several of them."""

    def __init__(self, *recordings: Recording) -> None:
        self._recordings = recordings
        self._looks: list[list[tuple[int, float]]] = [[] for _ in recordings]

    def watch(self, seconds: float) -> None:
        """Look at the recordings' growth for that long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for looks, recording in zip(self._looks, self._recordings, strict=True):
                looks.append((len(recording.samples()), now))
            time.sleep(0.002)

    def arrival_s(self, which: int, sample: int) -> float:
        """When this sample arrived, by the soonest arrival of the second that follows it.

        Each look bounds the arrival of all samples before it from above. Only those near by
        count: a server may leave gaps.
        """
        began = [
            now - count / SAMPLE_RATE
            for count, now in self._looks[which]
            if sample <= count <= sample + SAMPLE_RATE
        ]
        if not began:
            raise AssertionError(f"nobody looked when sample {sample} arrived")
        return min(began) + sample / SAMPLE_RATE
