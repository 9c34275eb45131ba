"""Plays and records on a private server, and measures what came through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

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
