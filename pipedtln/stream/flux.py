"""One signal's spectral flux by absolute hop index, for the delay estimator to compare."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BANDS = 40
"""Bands between 100 Hz and 6.5 kHz, equally wide in mel."""
_STEP = 2
"""Hops between the two frames whose levels are subtracted: they share half of their samples."""
_SETTLED = 6
"""Frames after a gap until two are compared: the first three may be padded with silence, which
would look like an onset in both signals at once."""
_FLOOR = 1e-6
"""Power below which a band counts as silent; near the rounding noise of 16-bit sound."""
_CLIP_DB = 6.0
"""Flux beyond this many decibels tells no more than this much: an onset is an onset."""
_QUIET_POWER = 2e-5
"""Mean power of a frame at -74 dBFS: a reference below it is silence."""
_RANGE = 10 ** (-3.5)
"""A frame 35 dB below the recent loudest one counts as a pause."""
_PEAK_DECAY = 0.999
_DB = 10.0 / float(np.log(10.0))


def band_matrix(bins: int, sample_rate: int, bands: int = BANDS) -> Array:
    """Weights that average a power spectrum over mel bands, shape (bins, bands)."""
    low, high = 100.0, 0.40625 * sample_rate
    mel = np.linspace(np.log1p(low / 700.0), np.log1p(high / 700.0), bands + 1)
    edges = 700.0 * np.expm1(mel) / (sample_rate / 2.0) * (bins - 1)
    index = np.arange(bins, dtype=np.float64)
    matrix = np.zeros((bins, bands), np.float32)
    for band, (start, stop) in enumerate(pairwise(edges)):
        inside = (index >= start) & (index < stop)
        if not inside.any():
            inside[round((start + stop) / 2.0)] = True
        matrix[inside, band] = 1.0 / float(inside.sum())
    return matrix


class FluxTrack:
    """The last `span` hops of one signal's spectral flux; gaps are silence.

    Flux is how many decibels each band has risen or fallen within 16 ms, less half of the mean
    over the bands (so that a volume change weighs little), bent by tanh. Steady noise has almost
    none, the colour of loudspeaker and room drops out, onsets remain.
    """

    def __init__(self, bins: int, sample_rate: int, span: int) -> None:
        self._matrix = band_matrix(bins, sample_rate)
        self._span = span
        # Every row is written twice, `span` apart, so that any window is one contiguous view.
        self._flux = np.zeros((2 * span, BANDS), np.float32)
        self._energy = np.zeros(2 * span, np.float32)
        self._weight = np.zeros(2 * span, np.float32)
        self._level = np.zeros((_STEP + 1, BANDS), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._flux.fill(0.0)
        self._energy.fill(0.0)
        self._weight.fill(0.0)
        self._run = 0
        self._peak = 0.0
        self.head: int | None = None
        """Newest hop known."""

    def put(self, hop: int, power: Array) -> bool:
        """Take the frame of `hop`; False when it is not newer than those known.

        Parameters
        ----------
        hop : absolute index of the frame's newest hop
        power : float32, shape (bins,); squared magnitudes
        """
        if self.head is not None and hop <= self.head:
            self._run = 0
            return False
        gap = 1 if self.head is None else hop - self.head
        if gap != 1:
            self._run = 0
            self._silence(hop - min(gap, self._span) + 1, hop)
        self.head = hop
        level = self._level[hop % (_STEP + 1)]
        np.dot(power, self._matrix, out=level)
        mean = float(level.mean())
        np.add(level, _FLOOR, out=level)
        np.log(level, out=level)
        self._run += 1
        if self._run < _SETTLED:
            self._silence(hop, hop + 1)
            return True
        flux = level - self._level[(hop - _STEP) % (_STEP + 1)]
        flux -= 0.5 * flux.mean()
        flux *= _DB / _CLIP_DB
        np.tanh(flux, out=flux)
        self._peak = max(mean, self._peak * _PEAK_DECAY)
        loud = mean > _QUIET_POWER and mean > self._peak * _RANGE
        self._store(hop, flux, 1.0 if loud else 0.0)
        return True

    def _store(self, hop: int, flux: Array, weight: float) -> None:
        energy = float(flux @ flux)
        for row in (hop % self._span, hop % self._span + self._span):
            self._flux[row] = flux
            self._energy[row] = energy
            self._weight[row] = weight

    def _silence(self, first: int, end: int) -> None:
        """Blank the hops from `first` to before `end`, at most `span` of them."""
        rows = np.arange(first, end) % self._span
        for half in (rows, rows + self._span):
            self._flux[half] = 0.0
            self._energy[half] = 0.0
            self._weight[half] = 0.0

    def window(self, first: int, last: int) -> tuple[Array, Array, Array]:
        """Flux (n, BANDS), energy (n,) and weight (n,) of hops first..last, oldest first."""
        start = first % self._span
        rows = slice(start, start + last - first + 1)
        return self._flux[rows], self._energy[rows], self._weight[rows]

    @property
    def oldest(self) -> int:
        """Oldest hop that a window may begin with."""
        return 0 if self.head is None else self.head - self._span + 1
