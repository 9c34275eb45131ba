"""What every stage that works on sound hop by hop looks like."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pipedtln.errors import BlockShapeError

Block: TypeAlias = NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Hz; the rate at which both DTLN networks were trained."""
HOP = 128
"""Samples between two frames (8 ms)."""
FRAME = 512
"""Samples that one inference sees (32 ms)."""
MOST_BATCH = 4
"""Most hops that are processed at once (32 ms)."""


class Processor(Protocol):
    """Turns microphone and reference into clean sound, one hop at a time.

    A processor belongs to one thread. Its rate and hop are its own properties, so that a wider
    band can come without a rebuild.
    """

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def hop(self) -> int:
        """Samples in each block."""

    @property
    def latency_samples(self) -> int:
        """Samples by which the sound in ``out`` lies behind that in ``mic``."""

    @property
    def uses_reference(self) -> bool:
        """Whether ``ref`` changes the output."""

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Process one hop.

        Parameters
        ----------
        mic : float32, shape (hop,), nominally [-1, 1]; what the microphone hears
        ref : float32, shape (hop,); what the loudspeaker plays
        out : float32, shape (hop,); filled completely, may be ``mic``

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """

    def reset(self) -> None:
        """Forget all that was heard, as if newly made."""


class BatchProcessor(Processor, Protocol):
    """A processor that may take several hops at once, in less time than one after the other."""

    @property
    def batch(self) -> int:
        """Hops that :meth:`process_batch` takes now; 1 where each must go alone."""

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Process :attr:`batch` hops, as that many calls of :meth:`process` would.

        Parameters
        ----------
        mic, ref, out : float32, shape (batch * hop,), one hop behind the other; ``out`` may be
            ``mic``

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """


def takes_batches(processor: object) -> TypeGuard[BatchProcessor]:
    """Whether :meth:`BatchProcessor.process_batch` may be called now."""
    return batch_of(processor) > 1


def batch_of(processor: object) -> int:
    """Hops that a processor takes at once now, 1 for one that does not tell."""
    batch: int = getattr(processor, "batch", 1)
    return batch


def process_hops(processor: Processor, mic: Block, ref: Block, out: Block) -> None:
    """Process some hops: at once if they are what the processor takes so now, else each alone.

    Parameters
    ----------
    mic, ref, out : float32, shape (hops * hop,), one hop behind the other
    """
    hop = processor.hop
    if len(mic) == hop:
        processor.process(mic, ref, out)
    elif takes_batches(processor) and len(mic) == processor.batch * hop:
        processor.process_batch(mic, ref, out)
    else:
        for at in range(0, len(mic), hop):
            one = slice(at, at + hop)
            processor.process(mic[one], ref[one], out[one])


def check_block(block: Block, hop: int, name: str) -> None:
    """Reject a block that is not contiguous float32 of shape (hop,).

    Raises
    ------
    BlockShapeError
    """
    if (
        not isinstance(block, np.ndarray)
        or block.dtype != np.float32
        or block.shape != (hop,)
        or not block.flags.c_contiguous
    ):
        got = type(block).__name__
        if isinstance(block, np.ndarray):
            got = f"{block.dtype} {block.shape}"
        raise BlockShapeError(f"{name} must be contiguous float32 of shape ({hop},), not {got}")
