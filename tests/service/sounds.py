"""Tones that tell which microphone is heard, and a recorder that says since when."""

from __future__ import annotations

import time

import numpy as np

from pipedtln.demo.apps import Recording, Samples
from pipedtln.processor import SAMPLE_RATE

LOW, HIGH = 440.0, 1250.0
"""Hz; whole numbers of periods in :data:`WINDOW`."""
WINDOW = SAMPLE_RATE // 10
QUIET = 0.003


def tone(hertz: float, seconds: float = 60.0, amplitude: float = 0.2) -> Samples:
    """A sine, float32."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def amplitude(samples: Samples, hertz: float) -> float:
    """Amplitude of one frequency."""
    t = np.arange(len(samples)) / SAMPLE_RATE
    return float(2 * np.abs(np.mean(samples * np.exp(-2j * np.pi * hertz * t))))


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64))))) if len(samples) else 0.0


def first_sound_s(samples: Samples) -> float | None:
    """Seconds from the start of a recording to where the sound begins that goes on.

    That is after the longest silence: what PipeWire's loopback still had of an earlier recording
    comes before it.
    """
    found = np.flatnonzero(samples)
    if not len(found):
        return None
    silences = np.diff(found, prepend=-1)
    return float(found[np.argmax(silences)]) / SAMPLE_RATE


def wait_heard(recording: Recording, hertz: float, timeout: float = 10.0) -> float:
    """Seconds from now until a frequency is the newest sound of a recording."""
    begin = time.monotonic()
    newest = np.zeros(0, dtype=np.float32)
    while time.monotonic() - begin < timeout:
        assert recording.recording, "the app's recording ended"
        newest = recording.samples()[-WINDOW:]
        if len(newest) == WINDOW and amplitude(newest, hertz) > 0.05:
            return time.monotonic() - begin
        time.sleep(0.02)
    raise AssertionError(f"no {hertz:.0f} Hz within {timeout:.0f} s; newest RMS {rms(newest):.5f}")


def wait_silent(recording: Recording, timeout: float = 10.0) -> float:
    """Seconds from now until the newest sound of a recording is silence."""
    begin = time.monotonic()
    while time.monotonic() - begin < timeout:
        assert recording.recording, "the app's recording ended"
        newest = recording.samples()[-WINDOW:]
        if len(newest) == WINDOW and rms(newest) < QUIET:
            return time.monotonic() - begin
        time.sleep(0.02)
    raise AssertionError(f"still sound after {timeout:.0f} s")
