"""Frames that slide over hops, and frames that add up to hops again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipedtln.processor import FRAME, HOP, Block

BINS = FRAME // 2 + 1
"""Bins of a real spectrum of one frame."""
OVERLAP = FRAME - HOP
"""Samples that a frame shares with the next one; the delay of the networks."""


# NumPy's annotations know double precision alone; the transforms themselves keep float32.
rfft: Callable[..., Any] = np.fft.rfft
irfft: Callable[..., Any] = np.fft.irfft


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
