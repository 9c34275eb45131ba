"""Sound for measurements: voices, music, rooms and loudspeakers, all made from a seed.

One scene is what a microphone hears while a loudspeaker plays::

    far ──▶ loudspeaker (may clip) ──▶ delay ──▶ room ──▶ + ◀── near talker, noise
     │                                                    │
     └──▶ ref                                             └──▶ mic
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

RATE = 16_000
LEVEL = 0.06
"""RMS of a voice while it is made (-24 dBFS)."""


@dataclass(frozen=True)
class Scene:
    """All signals of one simulated recording, each float32 of the same length, 16 kHz."""

    mic: Sound
    ref: Sound
    near: Sound
    """The near talker alone, as the microphone hears it; zeros for far-end single talk."""
    echo: Sound
    delay_ms: float
    """From ``ref`` to the direct sound in ``mic``."""


def rms(sound: Sound) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def at_level(sound: Sound, level: float = LEVEL) -> Sound:
    """The sound scaled to an RMS."""
    return (sound * (level / max(rms(sound), 1e-9))).astype(np.float32)


def speech_like(rng: np.random.Generator, seconds: float) -> Sound:
    """Syllables of a made-up language: harmonics under moving formants, hisses and pauses."""
    count = int(seconds * RATE)
    sound = np.zeros(count + RATE, np.float64)
    pitch = rng.uniform(90, 220)
    position = int(rng.uniform(0.0, 0.2) * RATE)
    while position < count:
        length = int(rng.uniform(0.08, 0.25) * RATE)
        time = np.arange(length) / RATE
        envelope = np.minimum(1.0, time / 0.012) * np.minimum(1.0, (time[-1] - time) / 0.04)
        if rng.random() < 0.3:
            spectrum = np.fft.rfft(rng.standard_normal(length))
            frequency = np.fft.rfftfreq(length, 1 / RATE)
            centre = rng.uniform(2500, 6000)
            part = np.fft.irfft(spectrum * np.exp(-(((frequency - centre) / 1200) ** 2)), length)
            part *= 0.4 / max(np.abs(part).max(), 1e-9)
        else:
            part = _vowel(rng, time, pitch * rng.uniform(0.85, 1.2))
        sound[position : position + length] += part * envelope * rng.uniform(0.3, 1.0)
        position += length
        if rng.random() < 0.25:
            position += int(rng.uniform(0.05, 0.45) * RATE)
    return at_level(sound[:count].astype(np.float32))


def _vowel(rng: np.random.Generator, time: NDArray[np.float64], pitch: float) -> Sound:
    """Harmonics of a gliding pitch under three formants."""
    formants = (rng.uniform(300, 850), rng.uniform(900, 2300), rng.uniform(2400, 3400))
    glide = pitch * (1 + rng.uniform(-0.15, 0.15) * time / max(time[-1], 1e-3))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    part = np.zeros_like(time)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = sum(1 / (1 + ((frequency - f) / 90) ** 2) / (i + 1) for i, f in enumerate(formants))
        part += gain * np.sin(harmonic * phase)
    return (part / max(np.abs(part).max(), 1e-9)).astype(np.float32)


def music_like(rng: np.random.Generator, seconds: float) -> Sound:
    """Plucked chords of one key over a bass drum and a hi-hat, in strict time."""
    count = int(seconds * RATE)
    sound = np.zeros(count, np.float64)
    step = int(RATE * 30 / rng.uniform(90, 140))
    root = 110 * 2 ** (rng.integers(0, 12) / 12)
    for beat, start in enumerate(range(0, count, step)):
        time = np.arange(min(count - start, 4 * step)) / RATE
        for _ in range(rng.integers(1, 4)):
            tone = root * 2 ** (rng.choice((0, 2, 4, 7, 9, 12, 14)) / 12) * rng.choice((1, 2, 4))
            for harmonic in range(1, min(9, int(7500 / tone) + 1)):
                wave = np.sin(2 * np.pi * tone * harmonic * time + rng.uniform(0, 6))
                sound[start : start + len(time)] += (
                    0.3 / harmonic * wave * np.exp(-time * (2 + harmonic))
                )
        drum = time[:4000]
        if beat % 2 == 0:
            thump = np.sin(2 * np.pi * (50 + 60 * np.exp(-drum * 30)) * drum)
            sound[start : start + len(drum)] += thump * np.exp(-drum * 18)
        hiss = np.diff(rng.standard_normal(len(drum) + 1)) * np.exp(-drum * 60)
        sound[start : start + len(drum)] += 0.25 * hiss
    return at_level(sound.astype(np.float32))


def pink_noise(rng: np.random.Generator, count: int) -> Sound:
    """Steady noise that falls by 3 dB per octave, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.sqrt(np.arange(len(spectrum)) + 50.0)
    return at_level(np.fft.irfft(spectrum, count).astype(np.float32), 1.0)


def random_room(rng: np.random.Generator, t60: float, direct_db: float) -> Sound:
    """Impulse response: the direct sound, then noise that decays by 60 dB in `t60` seconds.

    ``direct_db`` is the direct sound over the reverberation.
    """
    count = int(RATE * t60 * 1.1)
    tail = rng.standard_normal(count) * 10 ** (-3 * np.arange(count) / RATE / t60)
    tail[:40] = 0.0
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    # a small loudspeaker: no bass
    return np.convolve(tail, (1.0, -0.95)).astype(np.float32)


def convolve(sound: Sound, response: Sound) -> Sound:
    """Linear convolution cut to the sound's length."""
    size = len(sound) + len(response) - 1
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(sound)].astype(np.float32)


def shifted(sound: Sound, samples: int) -> Sound:
    """The sound later (or earlier) by whole samples, silence elsewhere, of the same length."""
    result = np.zeros_like(sound)
    if samples >= 0:
        result[samples:] = sound[: len(sound) - samples]
    else:
        result[:samples] = sound[-samples:]
    return result


def clipped(sound: Sound, drive: float = 2.5) -> Sound:
    """The sound through a loudspeaker driven far beyond its range."""
    level = rms(sound)
    return at_level(np.tanh(sound * (drive / max(level, 1e-9))), level)


def mixed(
    rng: np.random.Generator,
    ref: Sound,
    response: Sound,
    delay_ms: float,
    *,
    near: Sound | None = None,
    played: Sound | None = None,
    echo_level: float = 0.03,
    snr_db: float = 30.0,
) -> Scene:
    """Put a scene together; noise lies `snr_db` below the echo, or the near end if that is louder.

    ``played`` is what the loudspeaker makes of ``ref`` (``ref`` itself by default).
    """
    echo = convolve(
        shifted(ref if played is None else played, round(delay_ms * RATE / 1000)), response
    )
    echo = at_level(echo, echo_level)
    silent = np.zeros_like(echo)
    talker = silent if near is None else near
    noise = pink_noise(rng, len(echo)) * max(echo_level, rms(talker)) * 10 ** (-snr_db / 20)
    mic = (echo + talker + noise).astype(np.float32)
    return Scene(mic, ref, talker, echo, delay_ms)
