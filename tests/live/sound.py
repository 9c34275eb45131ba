"""Plays and records on a private server, and measures what came through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.latency import lag
from pipedtln.processor import SAMPLE_RATE

Sound = NDArray[np.float32]

MOST_SLIP_MS = 4.0
"""More than 300 ppm move an echo by within twelve seconds: then the room itself moved."""
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


def moved_ms(heard: Sound, far: Sound) -> float:
    """By how much the echo's place in the bare microphone's recording changes, second by second."""
    by, _ = lag(heard, far, most_s=4.0)
    places = []
    for at in range(max(0, by) + SAMPLE_RATE, len(heard) - SAMPLE_RATE, SAMPLE_RATE // 2):
        spoken = far[at - by : at - by + SAMPLE_RATE]
        if len(spoken) == SAMPLE_RATE and level_db(spoken) > -50:
            shift, likeness = lag(heard[at : at + SAMPLE_RATE], spoken, most_s=0.3)
            if likeness > 0.5:
                places.append(1000 * shift / SAMPLE_RATE)
    return float(np.ptp(places)) if places else np.inf
