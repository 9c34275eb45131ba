"""Tells when the far end sounds, and runs the echo canceller then."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE, Block, batch_of
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
        self.far_end = self._hear(ref)
        super().process(mic, ref, out)

    @property
    def batch(self) -> int:
        """Most hops that any network may take at once; where none may now, each goes alone."""
        return max(batch_of(network) for network in self.networks)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Process several hops, at once where all ask for the network that runs."""
        hops = [slice(at, at + HOP) for at in range(0, len(mic), HOP)]
        far_ends = [self._hear(ref[hop]) for hop in hops]
        self.far_end = far_ends[0]
        if all(far_end == far_ends[0] for far_end in far_ends) and super().batch == len(hops):
            super().process_batch(mic, ref, out)
            return
        for hop, self.far_end in zip(hops, far_ends, strict=True):
            super().process(mic[hop], ref[hop], out[hop])

    def _hear(self, ref: Block) -> bool:
        self._detector.hear(ref)
        return self._detector.sounds()
