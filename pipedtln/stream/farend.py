"""Tells when the far end sounds, and runs the echo canceller then."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import SAMPLE_RATE, Block
from pipedtln.stream.switch import NetworkSwitch

POWER = 1e-7
"""Mean square (-70 dBFS) above which a hop of the reference counts as far-end sound."""
HANG_SAMPLES = 2 * SAMPLE_RATE
"""Samples (2 s) for which the room and the far end's pauses keep the far end counted."""


class FarEndDetector:
    """Remembers how long ago the reference sounded."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._since: int | None = None

    def hear(self, ref: Block) -> None:
        """Take one hop of the reference."""
        if float(np.dot(ref, ref)) > POWER * len(ref):
            self._since = 0
        elif self._since is not None:
            self._since += len(ref)

    def sounds(self, held_samples: int = 0) -> bool:
        """Whether far-end sound may be in the microphone now.

        Parameters
        ----------
        held_samples : by which the reference is held back after it was heard here
        """
        return self._since is not None and self._since <= HANG_SAMPLES + held_samples


class FarEndSwitch(NetworkSwitch):
    """A :class:`NetworkSwitch` that listens to the reference it is given.

    For recordings: a live bridge knows of far-end sound before the held reference brings it.
    """

    def reset(self) -> None:
        """Forget all sound."""
        self._detector = FarEndDetector()
        self.far_end = False
        super().reset()

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Process one hop by the network that its reference asks for."""
        self._detector.hear(ref)
        self.far_end = self._detector.sounds()
        super().process(mic, ref, out)
