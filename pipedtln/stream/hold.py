"""A delay of whole hops that changes by cross-fading."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import Block


class HoldLine:
    """Holds a signal back by 0 to `most` hops; a change fades from one delay to the other.

    Parameters
    ----------
    hop : samples per block
    most : longest hold in hops
    fade_hops : hops that a change takes
    frame_hops : hops in one analysis frame, for :attr:`source_hop`
    """

    def __init__(self, hop: int, most: int, fade_hops: int, frame_hops: int) -> None:
        self.most = most
        self._rows = np.zeros((most + 1, hop), np.float32)
        ramp = (np.arange(fade_hops * hop, dtype=np.float32) + 0.5) / (fade_hops * hop)
        fade = 0.5 - 0.5 * np.cos(np.pi * ramp)
        self._fade = fade.reshape(fade_hops, hop).astype(np.float32)
        self._mix = np.zeros(hop, np.float32)
        self._frame_hops = frame_hops
        self.reset()

    def reset(self, hops: int = 0) -> None:
        """Forget the signal and hold by `hops` from its first sample on."""
        self._rows.fill(0.0)
        self._now = 0
        self._hold = self._target = min(max(hops, 0), self.most)
        self._step = 0
        self._clean = 0

    @property
    def hold_hops(self) -> int:
        """The hold, or the one that is being faded to."""
        return self._target

    @property
    def fading(self) -> bool:
        """Whether a change is under way."""
        return self._target != self._hold

    @property
    def source_hop(self) -> int | None:
        """Index of the hop given last, counted from the first one taken.

        None where the last frame given is not one stretch of the signal.
        """
        if self._clean < self._frame_hops:
            return None
        return self._now - 1 - self._hold

    def change(self, hops: int) -> None:
        """Fade to another hold; ignored while a change is under way."""
        if not self.fading:
            self._target = min(max(hops, 0), self.most)
            self._step = 0

    def process(self, block: Block, out: Block) -> None:
        """Take a hop and give the one that is due; float32, shape (hop,), `out` may be `block`."""
        size = self.most + 1
        self._rows[self._now % size] = block
        old = self._rows[(self._now - self._hold) % size]
        if self._target == self._hold:
            out[:] = old
            self._clean = self._clean + 1 if self._now >= self._hold else 0
        else:
            new = self._rows[(self._now - self._target) % size]
            np.subtract(new, old, out=self._mix)
            np.multiply(self._mix, self._fade[self._step], out=self._mix)
            np.add(old, self._mix, out=out)
            self._clean = 0
            self._step += 1
            if self._step == len(self._fade):
                self._hold = self._target
        self._now += 1
