"""The short conversation of the demo: who speaks when, and the noise in the room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from pipedtln.errors import PipedtlnError
from pipedtln.processor import SAMPLE_RATE, Block

_PAUSE_SECONDS = 0.3
"""Silence that parts two sentences; the recordings have 0.4 s there."""
_LEAD_SECONDS = 1.0
_GAP_SECONDS = 0.5
_NOISE_SECONDS = 4.0
_SPEECH_GAIN = 0.4
"""Brings the recordings, which peak near full scale, to the level of a talker at a desk."""


@dataclass(frozen=True)
class Phase:
    """A stretch of the conversation; seconds from its start."""

    key: str
    title: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Conversation:
    """What happens before the microphone and what the loudspeaker plays, on one time axis.

    ``near`` and ``far`` are float32, 16 kHz, of the same length, within [-1, 1].
    """

    near: Block
    far: Block
    phases: tuple[Phase, ...]

    @property
    def seconds(self) -> float:
        """Length of the whole."""
        return len(self.near) / SAMPLE_RATE


def conversation() -> Conversation:
    """Noise alone, speech in noise, speech alone, the far end alone, both at once.

    Raises
    ------
    PipedtlnError
        If the recordings are missing from this installation.
    """
    near, far = sentences("near"), sentences("far")
    mine_first, mine_then = np.concatenate(near[:2]), np.concatenate(near[2:])
    theirs_first, theirs_then = np.concatenate(far[:2]), np.concatenate(far[2:])
    silence: Block = np.zeros(0, np.float32)
    script = (
        ("noise", "Noise alone", silence, silence, _NOISE_SECONDS),
        ("speech_in_noise", "You, in noise", mine_first, silence, 0.0),
        ("near", "You alone", mine_then, silence, 0.0),
        ("far", "The other side alone", silence, theirs_first, 0.0),
        ("both", "Both at once", mine_first, theirs_then, 0.0),
    )
    phases = []
    nears: list[Block] = [_silence(_LEAD_SECONDS)]
    fars: list[Block] = [_silence(_LEAD_SECONDS)]
    at = _LEAD_SECONDS
    for key, title, mine, theirs, least in script:
        count = max(len(mine), len(theirs), round(least * SAMPLE_RATE))
        gap = round(_GAP_SECONDS * SAMPLE_RATE)
        heard = _fitted(mine, count + gap)
        if "noise" in key:
            heard[:count] += noise(count)
        nears.append(heard)
        fars.append(_fitted(theirs, count + gap))
        phases.append(Phase(key, title, at, at + count / SAMPLE_RATE))
        at += (count + gap) / SAMPLE_RATE
    return Conversation(np.concatenate(nears), np.concatenate(fars), tuple(phases))


def sentences(talker: str) -> list[Block]:
    """The sentences of ``"near"`` or ``"far"``, each with the pause after it; float32, 16 kHz.

    Raises
    ------
    PipedtlnError
        If the recording is missing from this installation.
    """
    path = Path(__file__).resolve().parent / "audio" / f"{talker}.flac"
    if not path.is_file():
        raise PipedtlnError(f"{path.name} is missing from this installation; reinstall pipedtln")
    sound = sf.read(path, dtype="float32")[0] * np.float32(_SPEECH_GAIN)
    loud = np.flatnonzero(sound)
    ends = loud[:-1][np.diff(loud) > _PAUSE_SECONDS * SAMPLE_RATE]
    starts = [0, *(int(loud[np.searchsorted(loud, end, side="right")]) for end in ends)]
    return [sound[a:b] for a, b in zip(starts, [*starts[1:], len(sound)], strict=True)]


def noise(count: int, *, seed: int = 7, level_dbfs: float = -38.0) -> Block:
    """A fan and a keyboard: float32, shape (count,), 16 kHz, the same for the same seed.

    The fan is noise that falls by 6 dB per octave above 200 Hz, with a hum; the keys are short
    bursts, about five per second.

    Parameters
    ----------
    count : samples
    level_dbfs : RMS of the fan
    """
    random = np.random.default_rng(seed)
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum *= 1 / (1 + frequencies / 200) * (frequencies > 30)
    fan = np.fft.irfft(spectrum, count)
    seconds = np.arange(count) / SAMPLE_RATE
    fan += 0.3 * np.std(fan) * np.sin(2 * np.pi * 118 * seconds)
    sound = fan * (10 ** (level_dbfs / 20) / np.std(fan))
    key = np.exp(-np.arange(400) / 60.0)
    for at in np.flatnonzero(random.random(count) < 5 / SAMPLE_RATE):
        burst = key[: count - at]
        sound[at : at + len(burst)] += 0.06 * burst * random.standard_normal(len(burst))
    clipped: Block = sound.clip(-1, 1).astype(np.float32)
    return clipped


def _silence(seconds: float) -> Block:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def _fitted(sound: Block, count: int) -> Block:
    fitted: Block = np.zeros(count, np.float32)
    fitted[: len(sound)] = sound
    return fitted
