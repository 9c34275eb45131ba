"""A resampler a few parts per million away from one, whose ratio may change at every block.

soxr's variable-rate streams smooth their ratio and delay the sound by an amount that changes with
it. Here the delay is fixed, and at ratio one and whole phase the samples pass unchanged, so that
a correction that ends on a whole sample leaves nothing behind.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np

from pipedtln.processor import Block

TAPS = 16
PHASES = 256
CENTRE = TAPS // 2 - 1
_STRETCH = 0.04
"""Of a sample: what the phase may move within a stretch of outputs, over which the filter's taps
go in a straight line. At 4 kHz that is 66 dB exact."""
_REACH = TAPS + 2
"""Taps with one more at either end, for phases that leave their sample within a stretch."""


@cache
def _kernel() -> Block:
    """Windowed-sinc interpolators, one row a phase; row 0 is the unit impulse.

    Kaiser window, beta 7: images below -70 dB up to 0.8 of the Nyquist frequency. Between two of
    256 phases a straight line is 94 dB exact.
    """
    taps = np.arange(TAPS) - CENTRE
    phases = np.arange(PHASES + 1)[:, None] / PHASES
    reach = (taps - phases) / (TAPS / 2)
    weight = np.interp(reach, np.linspace(-1, 1, 4097), np.kaiser(4097, 7.0), left=0.0, right=0.0)
    rows = np.sinc(taps - phases) * weight
    rows /= rows.sum(axis=1, keepdims=True)
    return rows.astype(np.float32)


@lru_cache(maxsize=64)
def _rise(count: int) -> Block:
    """Shares of the taps at the end of a stretch in each of its outputs."""
    rise: Block = np.arange(count, dtype=np.float32) / np.float32(count)
    return rise


class DriftResampler:
    """Reads a stream of samples slightly faster or slower than it arrives.

    ``speed`` is input samples consumed per output sample: 1.0003 takes 300 ppm out. The sound is
    delayed by ``delay_samples`` whatever the speed.

    Parameters
    ----------
    capacity : input samples that may wait
    """

    delay_samples = TAPS - 1 - CENTRE

    def __init__(self, capacity: int = 1024) -> None:
        self._kernel = _kernel()
        self._data = np.zeros(capacity + 2 * _REACH, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._data[:] = 0
        # Of what has been read the last sample is kept, for the taps to reach back.
        self._start = 1
        self._filled = TAPS - 1
        self._phase = 0.0

    def push(self, block: Block) -> None:
        """Append input samples."""
        count = len(block)
        end = self._start + self._filled
        if end + count + _REACH > len(self._data):
            self._data[: self._filled + 1] = self._data[self._start - 1 : end]
            self._start, end = 1, self._filled + 1
        self._data[end : end + count] = block
        self._filled += count

    def needed(self, count: int, speed: float) -> int:
        """Input samples still missing to make ``count`` outputs at ``speed``."""
        last = int(self._phase + (count - 1) * speed + 1e-9)
        return max(0, last + TAPS - self._filled)

    def available(self, speed: float) -> int:
        """Output samples that the waiting input can make at ``speed``."""
        starts = self._filled - TAPS + 1
        return max(0, math.ceil((starts - self._phase) / speed - 1e-9))

    def pull(self, out: Block, speed: float = 1.0) -> None:
        """Fill ``out``; the input must suffice (see :meth:`needed`)."""
        count = len(out)
        if speed == 1.0 and self._phase == 0.0:
            begin = self._start + CENTRE
            out[:] = self._data[begin : begin + count]
            self._consume(count)
            return
        stretches = max(1, math.ceil(abs(speed - 1.0) * count / _STRETCH))
        first, phase = 0, self._phase
        for stretch in range(1, stretches + 1):
            last = count * stretch // stretches
            later = phase + (speed - 1.0) * (last - first)
            self._stretch(out[first:last], self._start + first, phase, later)
            first, phase = last, later
        end = self._phase + speed * count
        taken = round(end) if abs(end - round(end)) < 1e-6 else int(end)
        self._phase = max(0.0, end - taken) if abs(end - taken) >= 1e-6 else 0.0
        self._consume(taken)

    def _stretch(self, out: Block, start: int, phase: float, later: float) -> None:
        """Outputs one sample apart from `start` + `phase` on, while the phase moves to `later`."""
        whole = math.floor(phase)
        taps = self._taps(phase - whole)
        growth = self._taps(later - whole) - taps
        first = start + whole - 1
        data = self._data[first : first + len(out) + _REACH - 1]
        np.multiply(np.correlate(data, growth), _rise(len(out)), out=out)
        out += np.correlate(data, taps)

    def _taps(self, phase: float) -> Block:
        """The filter for a phase from just under 0 to just over 1, shape (TAPS + 2,)."""
        whole = math.floor(phase)
        place = (phase - whole) * PHASES
        row = int(place)
        taps = np.zeros(_REACH, dtype=np.float32)
        part = taps[whole + 1 : whole + 1 + TAPS]
        np.subtract(self._kernel[row + 1], self._kernel[row], out=part)
        part *= place - row
        part += self._kernel[row]
        return taps

    def _consume(self, count: int) -> None:
        self._start += count
        self._filled = max(0, self._filled - count)
