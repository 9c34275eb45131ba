"""How much quieter the output is than the microphone while the far end talks."""

from __future__ import annotations

import math

import numpy as np

from pipedtln.processor import Block

_SECONDS = 1.0
_SILENCE = 10 ** (-7.0)
"""Mean square (-70 dBFS) below which the reference is silent."""


class SuppressionMeter:
    """Microphone over output in dB, over the last second or so with far-end sound.

    Near-end speech is left in by the processor and lowers the figure; so does the noise that
    remains. Both levels are means over seconds, so that the processor's latency does not matter.
    """

    def __init__(self, hops_per_second: float) -> None:
        self._gain = 1.0 / (_SECONDS * hops_per_second)
        self.reset()

    def reset(self) -> None:
        """Forget all levels."""
        self._mic = 0.0
        self._out = 0.0
        self._hops = 0

    @property
    def suppression_db(self) -> float | None:
        """None until a second of far-end sound was heard."""
        if self._hops * self._gain * _SECONDS < 1.0 or self._mic <= 0.0:
            return None
        return 10.0 * math.log10(self._mic / max(self._out, self._mic * 1e-8))

    def update(self, mic: Block, ref: Block, out: Block) -> None:
        """Take one hop: microphone and reference as the processor got them, and its output."""
        if float(np.dot(ref, ref)) < _SILENCE * len(ref):
            return
        self._hops += 1
        gain = max(self._gain, 1.0 / self._hops)
        self._mic += (float(np.dot(mic, mic)) - self._mic) * gain
        self._out += (float(np.dot(out, out)) - self._out) * gain
