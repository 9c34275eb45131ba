"""Spectra of microphone and output for those who watch, in bands as the ear has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block

_FRAMES = 6
"""Half-overlapping frames in a spectrum: 1792 samples, 112 ms."""
_LENGTH = FRAME * (_FRAMES + 1) // 2
_FLOOR_DB = -120.0
_STEPS_PER_DB = 2.0


class Spectrometer:
    """A tap that keeps the last tenth of a second; the work is done by who asks.

    The worker only copies. :meth:`spectra` reads from another thread while the worker may write:
    a torn frame is one wrong column of a picture.

    Parameters
    ----------
    bands : how many, equally wide on the mel scale (O'Shaughnessy 1987) from 0 to 8 kHz
    """

    def __init__(self, bands: int = 32) -> None:
        self._sound = np.zeros((2, _LENGTH), dtype=np.float32)
        self._at = 0
        window = np.hanning(FRAME + 1)[:-1]
        self._window = window.astype(np.float32)
        # So that the powers of all bands sum up to the mean square of the sound.
        self._scale = 2.0 / (FRAME * float(np.dot(window, window)))
        self._edges = _mel_edges(bands)

    def hear(self, mic: Block, ref: Block, out: Block) -> None:
        """Take one hop in."""
        at = self._at
        self._sound[0, at : at + HOP] = mic
        self._sound[1, at : at + HOP] = out
        self._at = (at + HOP) % _LENGTH

    def spectra(self) -> tuple[bytes, bytes]:
        """Power of mic and output over the last 112 ms.

        Returns
        -------
        One byte for each band, low to high, in half decibels above -120 dBFS: 240 is a mean
        square of 1.
        """
        sound = np.roll(self._sound, -self._at, axis=1)
        frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME, axis=1)[:, :: FRAME // 2]
        power = np.abs(np.fft.rfft(frames * self._window)) ** 2
        power[..., 0] *= 0.5  # the ends of a spectrum have no mirror image
        power[..., -1] *= 0.5
        bands = np.add.reduceat(power.mean(axis=1), self._edges, axis=1) * self._scale
        decibels = 10.0 * np.log10(bands + 1e-12)
        steps = np.clip(np.rint((decibels - _FLOOR_DB) * _STEPS_PER_DB), 0, 255).astype(np.uint8)
        return steps[0].tobytes(), steps[1].tobytes()


def _mel_edges(bands: int) -> NDArray[np.intp]:
    """First bin of each band; each has one bin at least."""
    highest = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, highest, bands + 1)[:-1] / 2595.0) - 1.0)
    bins = np.rint(hertz * FRAME / SAMPLE_RATE).astype(np.intp)
    for band in range(1, bands):
        bins[band] = max(bins[band], bins[band - 1] + 1)
    return bins
