"""A processor that changes nothing and tells the spectra that an echo canceller would."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block


class SpectraOnly:
    """Passes the microphone through without delay and keeps what it was given."""

    sample_rate = SAMPLE_RATE
    hop = HOP
    latency_samples = 0

    def __init__(self) -> None:
        self.uses_reference = True
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._frames = np.zeros((2, FRAME), np.float32)
        self._power: NDArray[np.float32] = np.zeros((2, FRAME // 2 + 1), np.float32)
        self.refs: list[Block] = []
        self.forgot: list[int] = []

    def forget(self) -> None:
        """Note after how many hops it was told to forget."""
        self.forgot.append(len(self.refs))

    @property
    def mic_power(self) -> NDArray[np.float32]:
        """Shape (257,)."""
        return self._power[0]

    @property
    def ref_power(self) -> NDArray[np.float32]:
        """Shape (257,)."""
        return self._power[1]

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Analyse and pass through."""
        self._frames[:, :-HOP] = self._frames[:, HOP:]
        self._frames[0, -HOP:] = mic
        self._frames[1, -HOP:] = ref
        np.square(np.abs(np.fft.rfft(self._frames)), out=self._power, casting="same_kind")
        self.refs.append(ref.copy())
        out[:] = mic
