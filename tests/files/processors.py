"""Processors with known answers, written by hand for the tests of file mode."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE, Block


class Delayed:
    """Gives the microphone back ``latency`` samples later, like a network that changes nothing."""

    sample_rate = SAMPLE_RATE
    hop = HOP
    uses_reference = True

    def __init__(self, latency: int = 384) -> None:
        self.latency_samples = latency
        self._line: Block = np.zeros(latency, np.float32)

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Push a hop through the delay line."""
        line = np.concatenate((self._line, self.mixed(mic, ref)))
        out[:] = line[: self.hop]
        self._line = line[self.hop :]

    def mixed(self, mic: Block, ref: Block) -> Block:
        """What goes into the delay line."""
        return mic

    def reset(self) -> None:
        """Forget what is in the delay line."""
        self._line = np.zeros(self.latency_samples, np.float32)


class Reference(Delayed):
    """Gives the reference instead of the microphone."""

    def mixed(self, mic: Block, ref: Block) -> Block:
        """The reference alone."""
        return ref


class Silencer(Delayed):
    """Removes everything."""

    def mixed(self, mic: Block, ref: Block) -> Block:
        """Nothing."""
        return np.zeros_like(mic)


class Squarer(Delayed):
    """Squares the sound, so that a change of blocks or order could not hide in linearity."""

    def mixed(self, mic: Block, ref: Block) -> Block:
        """The square, with its sign."""
        return (mic * np.abs(mic)).astype(np.float32)


class BatchSquarer(Squarer):
    """The same, and four hops at once, which it counts."""

    batch = 4
    batches = alone = 0

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Push a hop through, and count it."""
        self.alone += 1
        super().process(mic, ref, out)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Push all hops through."""
        self.batches += 1
        for at in range(0, len(mic), HOP):
            hop = slice(at, at + HOP)
            super().process(mic[hop], ref[hop], out[hop])
