"""DTLN-aec echo cancellation, one hop at a time."""

from __future__ import annotations

from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.runtime import Stage
from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.twostage import TwoStageNetwork
from pipedtln.processor import Block


class EchoCanceller(TwoStageNetwork):
    """DTLN-aec echo cancellation (and noise suppression), one hop at a time.

    A first stage sees the magnitudes of microphone and reference and masks those of the
    microphone; a second one sees the resulting frame beside the reference's.

    Samples must be finite: a NaN stays in the recurrent state, and so in all that comes out, until
    :meth:`reset`.

    Parameters
    ----------
    masks : stage with inputs of 257 magnitudes of mic and of ref and an output of 257 gains
    frames : stage with inputs of 512 samples of mic and of ref and an output of 512 samples
    pipeline : infer ``frames`` of one hop beside ``masks`` of the next, one hop later

    Source: N. L. Westhausen and B. T. Meyer, "Acoustic echo cancellation with the dual-signal
    transformation LSTM network", ICASSP 2021.
    """

    def __init__(self, masks: Stage, frames: Stage, *, pipeline: bool = False) -> None:
        super().__init__(masks, frames, ("mic", "ref"), pipeline=pipeline)
        self._ref_power: Tensor = self._powers[1]
        self._mic_powers: Tensor = self._powers_of_batch[0]
        self._ref_powers: Tensor = self._powers_of_batch[1]

    @property
    def uses_reference(self) -> bool:
        """Whether ``ref`` changes the output: it does."""
        return True

    @property
    def ref_power(self) -> Tensor:
        """Power spectrum of the newest frame of ``ref``; like :attr:`mic_power`."""
        return self._ref_power

    @property
    def mic_powers(self) -> Tensor:
        """Like :attr:`mic_power`, of all frames of :meth:`process_batch`; shape (batch, 257)."""
        return self._mic_powers

    @property
    def ref_powers(self) -> Tensor:
        """Like :attr:`mic_powers`, of ``ref``."""
        return self._ref_powers

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Cancel the echo of ``ref`` in one hop of ``mic``.

        Parameters
        ----------
        mic : float32, shape (128,), 16 kHz, nominally [-1, 1]; what the microphone hears
        ref : float32, shape (128,); what the loudspeaker plays, best 10-40 ms ahead of its echo
        out : float32, shape (128,); filled completely, may be ``mic``

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """
        self._process((mic, ref), out)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Cancel the echo in several hops; see :class:`pipedtln.processor.BatchProcessor`."""
        self._process_batch((mic, ref), out)

    def forget(self) -> None:
        """Zero the recurrent state but go on with the sound: the echo's delay is another now.

        A state that was learned while the reference lay in the wrong place takes the echo for
        near-end speech and lets it through for many seconds after that has been put right.
        """
        self._masks.reset()
        if isinstance(self._frames, PipelinedStage):
            self._frames.forget()
        else:
            self._frames.reset()
