"""DTLN noise suppression, one hop at a time."""

from __future__ import annotations

from pipedtln.dtln.runtime import Stage
from pipedtln.dtln.twostage import TwoStageNetwork
from pipedtln.processor import Block


class NoiseSuppressor(TwoStageNetwork):
    """DTLN noise suppression, one hop at a time.

    Samples must be finite: a NaN stays in the recurrent state, and so in all that comes out, until
    :meth:`reset`.

    Parameters
    ----------
    masks : stage with one input of 257 magnitudes and an output of 257 gains
    frames : stage with one input and an output of 512 samples
    pipeline : infer ``frames`` of one hop beside ``masks`` of the next, one hop later

    Source: N. L. Westhausen and B. T. Meyer, "Dual-Signal Transformation LSTM Network for
    Real-Time Noise Suppression", Interspeech 2020.
    """

    def __init__(self, masks: Stage, frames: Stage, *, pipeline: bool = False) -> None:
        super().__init__(masks, frames, ("mic",), pipeline=pipeline)

    @property
    def uses_reference(self) -> bool:
        """Whether ``ref`` changes the output: it does not."""
        return False

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Suppress noise in one hop.

        Parameters
        ----------
        mic : float32, shape (128,), 16 kHz, nominally [-1, 1]
        ref : ignored; present so that every Processor is alike
        out : float32, shape (128,); filled completely, may be ``mic``

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """
        self._process((mic,), out)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Suppress noise in several hops; see :class:`pipedtln.processor.BatchProcessor`."""
        self._process_batch((mic,), out)
