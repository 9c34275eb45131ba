"""From a card's sample rate to the network's and back, chunk by chunk with one fixed delay."""

from __future__ import annotations

import numpy as np

from pipedtln.errors import ServerError
from pipedtln.processor import Block

PRIME_S = 0.2
"""Silence that is sent ahead, after which each chunk brings as much as it holds."""


class RateConverter:
    """Resamples a stream of float32, shape (n,) or (n, channels).

    soxr's variable-rate converter at a fixed ratio: it delays by a constant 12 to 15 ms (30 from
    8 kHz), while its faster ones collect up to 58 ms of sound and let it out in bursts.

    Parameters
    ----------
    from_rate, to_rate : Hz
    channels : columns of what is converted; 1 stands for shape (n,)

    Raises
    ------
    ServerError
        If soxr is too old for it.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int = 1) -> None:
        self.delay_ms = 0.0
        self._stream = None
        if from_rate == to_rate:
            return
        import soxr

        try:
            self._stream = soxr.ResampleStream(
                from_rate, to_rate, channels, dtype="float32", vr=True
            )
        except TypeError as error:
            raise ServerError(
                f"soxr {soxr.__version__} is too old; run: pip install 'pipedtln[portaudio]'"
            ) from error
        size = (channels,) if channels > 1 else ()
        silence = np.zeros((round(PRIME_S * from_rate), *size), dtype=np.float32)
        made = len(self._stream.resample_chunk(silence))
        self.delay_ms = 1000 * (PRIME_S - made / to_rate)

    def convert(self, block: Block) -> Block:
        """What the next samples become; may be the block itself, and is valid for good."""
        if self._stream is None:
            return block
        converted: Block = self._stream.resample_chunk(block)
        return converted
