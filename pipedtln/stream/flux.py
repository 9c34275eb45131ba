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
_MEAN = np.full(BANDS, 1.0 / BANDS, np.float32)
"""A product with it is a mean over the bands, at a sixth of the cost of ``mean``."""


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

    Frames are given one at a time and worked on together, up to `batch` of them: a frame alone
    costs little less than eight.

    Parameters
    ----------
    bins, sample_rate : of the spectra
    span : hops to keep
    batch : frames that may wait to be worked on
    """

    def __init__(self, bins: int, sample_rate: int, span: int, batch: int) -> None:
        self._matrix = band_matrix(bins, sample_rate)
        self._span = span
        self._power = np.zeros((batch, bins), np.float32)
        # The levels of the frames of the last batch, those of the two before them first.
        self._level = np.zeros((_STEP + batch, BANDS), np.float32)
        # Every row is written twice, `span` apart, so that any window is one contiguous view.
        self._flux = np.zeros((2 * span, BANDS), np.float32)
        self._energy = np.zeros(2 * span, np.float32)
        self._weight = np.zeros(2 * span, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._flux.fill(0.0)
        self._energy.fill(0.0)
        self._weight.fill(0.0)
        self._run = 0
        self._peak = 0.0
        self._newest: int | None = None
        self.waiting = 0
        """Frames that wait."""
        self.head: int | None = None
        """Newest hop worked on."""

    def is_news(self, hop: int) -> bool:
        """Whether a frame of this hop is newer than all that were given."""
        return self._newest is None or hop > self._newest

    def follows(self, hop: int) -> bool:
        """Whether a frame of this hop may wait together with those that do."""
        return not self.waiting or hop - 1 == self._newest

    def add(self, hop: int, power: Array) -> None:
        """Take a frame that is news and follows.

        Parameters
        ----------
        hop : absolute index of the frame's newest hop
        power : float32, shape (bins,); squared magnitudes
        """
        self._power[self.waiting] = power
        self.waiting += 1
        self._newest = hop

    def work_off(self) -> tuple[int, int]:
        """Work on the frames that wait; the first one's hop and how many there were."""
        count, self.waiting = self.waiting, 0
        if not count or self._newest is None:
            return 0, 0
        first = self._newest - count + 1
        gap = 1 if self.head is None else first - self.head
        if gap != 1:
            self._run = 0
            self._silence(first - min(gap, self._span) + 1, first)
        self.head = self._newest
        level = self._level[_STEP : _STEP + count]
        np.dot(self._power[:count], self._matrix, out=level)
        mean = level @ _MEAN
        np.add(level, _FLOOR, out=level)
        np.log(level, out=level)
        flux = level - self._level[:count]
        flux -= 0.5 * (flux @ _MEAN)[:, None]
        flux *= _DB / _CLIP_DB
        np.tanh(flux, out=flux)
        self._level[:_STEP] = self._level[count : count + _STEP]
        unsettled = min(count, max(0, _SETTLED - 1 - self._run))
        self._run += count
        flux[:unsettled] = 0.0
        self._store(first, flux, self._loud(mean, unsettled))
        return first, count

    def _loud(self, mean: Array, unsettled: int) -> Array:
        """1 for each frame that is neither silence nor a pause nor too soon after a gap."""
        loud = np.zeros(len(mean), np.float32)
        for frame, power in enumerate(mean.tolist()):
            if frame < unsettled:
                continue
            self._peak = max(power, self._peak * _PEAK_DECAY)
            if power > _QUIET_POWER and power > self._peak * _RANGE:
                loud[frame] = 1.0
        return loud

    def _store(self, first: int, flux: Array, weight: Array) -> None:
        energy = np.einsum("ij,ij->i", flux, flux)
        rows = np.arange(first, first + len(flux)) % self._span
        for half in (rows, rows + self._span):
            self._flux[half] = flux
            self._energy[half] = energy
            self._weight[half] = weight

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
