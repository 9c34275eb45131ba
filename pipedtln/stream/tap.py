"""Listeners on the engine's hops: level meters, and a recorder of one moment."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE, Block

FLOOR_DBFS = -120.0


def to_dbfs(power: float) -> float:
    """Decibels of a mean square; full scale is 1.0."""
    return max(FLOOR_DBFS, 10 * float(np.log10(power + 1e-12)))


class LevelMeter:
    """Mean squares of mic, reference and output over about 100 ms."""

    def __init__(self) -> None:
        self._power = [0.0, 0.0, 0.0]
        self._skip = True

    def hear(self, mic: Block, ref: Block, out: Block) -> None:
        """Take one hop in; every other one is looked at, which tells as much for half the price."""
        self._skip = not self._skip
        if self._skip:
            return
        power = self._power
        for i, block in enumerate((mic, ref, out)):
            power[i] += 0.15 * (float(np.dot(block, block)) / HOP - power[i])

    def levels(self) -> tuple[float, float, float]:
        """Levels of mic, reference and output in dBFS."""
        mic, ref, out = (to_dbfs(power) for power in self._power)
        return mic, ref, out


class Recorder:
    """Keeps mic, reference and output of one moment, sample beside sample.

    ``out`` lies ``latency_samples`` of the processing behind ``mic``.

    Parameters
    ----------
    seconds : how much to keep
    """

    def __init__(self, seconds: float) -> None:
        hops = max(1, round(seconds * SAMPLE_RATE / HOP))
        self._sound = np.zeros((3, hops * HOP), dtype=np.float32)
        self._at = 0

    @property
    def full(self) -> bool:
        """Whether all is there."""
        return self._at >= self._sound.shape[1]

    def hear(self, mic: Block, ref: Block, out: Block) -> None:
        """Take one hop in, until full."""
        at = self._at
        if self.full:
            return
        self._sound[0, at : at + HOP] = mic
        self._sound[1, at : at + HOP] = ref
        self._sound[2, at : at + HOP] = out
        self._at = at + HOP

    def sound(self) -> Block:
        """What was kept: float32, shape (3, samples), rows mic, reference, output."""
        return self._sound[:, : self._at]
