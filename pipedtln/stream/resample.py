"""A resampler a few parts per million away from one, whose ratio may change at every block.

soxr's variable-rate streams smooth their ratio and delay the sound by an amount that changes with
it. Here the delay is fixed, and at ratio one and whole phase the samples pass unchanged, so that
a correction that ends on a whole sample leaves nothing behind.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from pipedtln.processor import Block

TAPS = 16
PHASES = 2048
CENTRE = TAPS // 2 - 1


@cache
def _kernel() -> Block:
    """Windowed-sinc interpolators, one row a phase; row 0 is the unit impulse.

    Kaiser window, beta 7: images below -70 dB up to 0.8 of the Nyquist frequency. With 2048
    phases the nearest one is at most 1/4096 of a sample off, -68 dB at 4 kHz.
    """
    taps = np.arange(TAPS) - CENTRE
    phases = np.arange(PHASES + 1)[:, None] / PHASES
    reach = (taps - phases) / (TAPS / 2)
    weight = np.interp(reach, np.linspace(-1, 1, 4097), np.kaiser(4097, 7.0), left=0.0, right=0.0)
    rows = np.sinc(taps - phases) * weight
    rows /= rows.sum(axis=1, keepdims=True)
    return rows.astype(np.float32)


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
        self._data = np.zeros(capacity + 2 * TAPS, dtype=np.float32)
        self._taps = np.arange(TAPS)
        self._start = 0
        self._filled = TAPS - 1
        self._phase = 0.0

    def reset(self) -> None:
        """Forget all samples."""
        self._data[:] = 0
        self._start = 0
        self._filled = TAPS - 1
        self._phase = 0.0

    def push(self, block: Block) -> None:
        """Append input samples."""
        count = len(block)
        end = self._start + self._filled
        if end + count > len(self._data):
            self._data[: self._filled] = self._data[self._start : end]
            self._start, end = 0, self._filled
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
        position = self._phase + speed * np.arange(count) + 1e-9
        whole = position.astype(np.intp)
        phase = ((position - whole) * PHASES + 0.5).astype(np.intp)
        windows = self._data[(self._start + whole)[:, None] + self._taps]
        np.einsum("ij,ij->i", windows, self._kernel[phase], out=out)
        end = self._phase + speed * count
        taken = round(end) if abs(end - round(end)) < 1e-6 else int(end)
        self._phase = max(0.0, end - taken) if abs(end - taken) >= 1e-6 else 0.0
        self._consume(taken)

    def _consume(self, count: int) -> None:
        self._start += count
        self._filled = max(0, self._filled - count)
