"""DTLN-aec echo cancellation, one hop at a time."""

from __future__ import annotations

import numpy as np

from pipedtln.dtln.frames import BINS, OVERLAP, OverlapAdd, irfft, rfft
from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.runtime import Stage, Tensor
from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block, check_block


class EchoCanceller:
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
        self._masks = masks
        self._frames = PipelinedStage(frames, (FRAME,) * 2, FRAME) if pipeline else frames
        self._latency = OVERLAP + HOP if pipeline else OVERLAP
        # Row 0 is the microphone, row 1 the reference: one transform serves both.
        self._pair: Tensor = np.zeros((2, FRAME), np.float32)
        self._kept_mic = self._pair[0, :OVERLAP]
        self._kept_ref = self._pair[1, :OVERLAP]
        self._moved_mic = self._pair[0, HOP:]
        self._moved_ref = self._pair[1, HOP:]
        self._newest_mic = self._pair[0, OVERLAP:]
        self._newest_ref = self._pair[1, OVERLAP:]
        self._spectra = np.zeros((2, BINS), np.complex64)
        self._spectrum = self._spectra[0]
        self._magnitude: Tensor = np.zeros((2, BINS), np.float32)
        self._power: Tensor = np.zeros((2, BINS), np.float32)
        self._gain: Tensor = np.zeros(BINS, np.float32)
        self._masked: Block = np.zeros(FRAME, np.float32)
        self._clean: Block = np.zeros(FRAME, np.float32)
        self._sum = OverlapAdd()
        self._magnitudes = (self._magnitude[0], self._magnitude[1])
        self._masked_frames = (self._masked, self._pair[1])
        self._mic_power: Tensor = self._power[0]
        self._ref_power: Tensor = self._power[1]
        self._mic_power.flags.writeable = False
        self._ref_power.flags.writeable = False

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return SAMPLE_RATE

    @property
    def hop(self) -> int:
        """Samples in each block."""
        return HOP

    @property
    def latency_samples(self) -> int:
        """Samples by which the sound in ``out`` lies behind that in ``mic``: 384, or 512."""
        return self._latency

    @property
    def uses_reference(self) -> bool:
        """Whether ``ref`` changes the output: it does."""
        return True

    @property
    def mic_power(self) -> Tensor:
        """Power spectrum of the newest frame of ``mic``.

        A read-only view, float32, shape (257,), linear (squared magnitude of the unwindowed
        512-point spectrum), bins 31.25 Hz apart; each :meth:`process` overwrites it.
        """
        return self._mic_power

    @property
    def ref_power(self) -> Tensor:
        """Power spectrum of the newest frame of ``ref``; like :attr:`mic_power`."""
        return self._ref_power

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
        check_block(mic, HOP, "mic")
        check_block(ref, HOP, "ref")
        check_block(out, HOP, "out")
        # Row by row: NumPy moves overlapping rows in place, but copies overlapping matrices twice.
        self._kept_mic[:] = self._moved_mic
        self._kept_ref[:] = self._moved_ref
        self._newest_mic[:] = mic
        self._newest_ref[:] = ref
        rfft(self._pair, self._spectra)
        np.abs(self._spectra, out=self._magnitude)
        np.square(self._magnitude, out=self._power)
        self._masks.run(self._magnitudes, self._gain)
        # A real gain leaves the phase alone, so magnitude and phase need not be taken apart.
        np.multiply(self._spectrum, self._gain, out=self._spectrum)
        irfft(self._spectrum, self._masked)
        self._frames.run(self._masked_frames, self._clean)
        self._sum.add(self._clean, out)

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

    def reset(self) -> None:
        """Forget all that was heard, as if newly made."""
        self._masks.reset()
        self._frames.reset()
        self._pair.fill(0.0)
        self._power.fill(0.0)
        self._sum.reset()
