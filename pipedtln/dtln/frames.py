"""Frames that slide over hops, and frames that add up to hops again."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pipedtln.processor import FRAME, HOP, Block

BINS = FRAME // 2 + 1
"""Bins of a real spectrum of one frame."""
OVERLAP = FRAME - HOP
"""Samples that a frame shares with the next one; the delay of the networks."""

Transform = Callable[[Any, Any], object]
"""Takes frames and an array for spectra, float32 and complex64, or the other way round."""


def transforms() -> tuple[Transform, Transform]:
    """The transform of frames and its inverse, without what NumPy's functions do around them.

    That takes as long as the transforms, and ``rfft`` goes by double precision. What is within is
    not NumPy's public interface; where it is not, the public functions serve.
    """
    try:
        within: Any = importlib.import_module("numpy.fft._pocketfft_umath")
        forward, inverse = within.rfft_n_even, within.irfft
    except (ImportError, AttributeError):
        return public_transforms()
    # Factors of any other type would bring double precision.
    whole, share = np.float32(1.0), np.float32(1.0 / FRAME)
    return (
        lambda frames, spectra: forward(frames, whole, out=spectra),
        lambda spectra, frames: inverse(spectra, share, out=frames),
    )


def public_transforms() -> tuple[Transform, Transform]:
    """The same by NumPy's public functions."""
    # NumPy's annotations know double precision alone; the functions take and give float32, too.
    public: Any = np.fft
    return (
        lambda frames, spectra: public.rfft(frames, out=spectra),
        lambda spectra, frames: public.irfft(spectra, FRAME, out=frames),
    )


rfft, irfft = transforms()


class OverlapAdd:
    """Adds frames, each one hop later than the last; no window, as the networks were trained."""

    def __init__(self) -> None:
        self._sum: Block = np.zeros(FRAME, np.float32)
        self._shared = self._sum[:OVERLAP]
        self._next = self._sum[HOP:]
        self._newest = self._sum[OVERLAP:]
        self._done = self._sum[:HOP]

    def add(self, frame: Block, out: Block) -> None:
        """Add a frame, shape (512,), and put the hop that is complete now into ``out``."""
        self._shared[:] = self._next
        self._shared += frame[:OVERLAP]
        self._newest[:] = frame[OVERLAP:]
        out[:] = self._done

    def reset(self) -> None:
        """Forget all frames."""
        self._sum.fill(0.0)
