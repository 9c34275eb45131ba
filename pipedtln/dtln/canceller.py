"""DTLN-aec echo cancellation, one hop at a time."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipedtln.dtln.frames import BINS, OVERLAP, OverlapAdd, irfft, rfft
from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.runtime import Stage
from pipedtln.dtln.tensor import Tensor
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
        # Row 0 is the microphone, row 1 the reference: one transform serves both. The frame is the
        # newest part of what is kept; the one before it is there, too, for two hops at once.
        self._sound: Tensor = np.zeros((2, HOP + FRAME), np.float32)
        self._pair = self._sound[:, HOP:]
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
        # The same for two hops: signals, frames, and what is in them.
        self._frames_two = sliding_window_view(self._sound, FRAME, axis=1)[:, ::HOP]
        self._spectra_two = np.zeros((2, 2, BINS), np.complex64)
        self._magnitude_two: Tensor = np.zeros((2, 2, BINS), np.float32)
        self._power_two: Tensor = np.zeros((2, 2, BINS), np.float32)
        self._gain_two: Tensor = np.zeros((2, BINS), np.float32)
        self._masked_two: Tensor = np.zeros((2, FRAME), np.float32)
        self._clean_two: Tensor = np.zeros((2, FRAME), np.float32)
        self._mic_powers: Tensor = self._power_two[0]
        self._ref_powers: Tensor = self._power_two[1]
        self._mic_powers.flags.writeable = False
        self._ref_powers.flags.writeable = False

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

    @property
    def mic_powers(self) -> Tensor:
        """Like :attr:`mic_power`, of both frames of :meth:`process_two`; shape (2, 257)."""
        return self._mic_powers

    @property
    def ref_powers(self) -> Tensor:
        """Like :attr:`mic_powers`, of ``ref``."""
        return self._ref_powers

    @property
    def pairs(self) -> bool:
        """Whether both stages are ready for :meth:`process_two`."""
        return self._masks.pairs and self._frames.pairs

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

    def process_two(self, mic: Block, ref: Block, out: Block) -> None:
        """Cancel the echo in two hops at once; gives what two calls of :meth:`process` give.

        Parameters
        ----------
        mic, ref, out : float32, shape (256,), otherwise as for :meth:`process`

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """
        check_block(mic, 2 * HOP, "mic")
        check_block(ref, 2 * HOP, "ref")
        check_block(out, 2 * HOP, "out")
        for sound, block in zip(self._sound, (mic, ref), strict=True):
            sound[:OVERLAP] = sound[2 * HOP :]
            sound[OVERLAP:] = block
        rfft(self._frames_two, self._spectra_two)
        np.abs(self._spectra_two, out=self._magnitude_two)
        np.square(self._magnitude_two, out=self._power_two)
        self._power[:] = self._power_two[:, 1]
        self._masks.run_two((self._magnitude_two[0], self._magnitude_two[1]), self._gain_two)
        spectra = self._spectra_two[0]
        np.multiply(spectra, self._gain_two, out=spectra)
        irfft(spectra, self._masked_two)
        self._frames.run_two((self._masked_two, self._frames_two[1]), self._clean_two)
        self._sum.add(self._clean_two[0], out[:HOP])
        self._sum.add(self._clean_two[1], out[HOP:])

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
        self._sound.fill(0.0)
        self._power.fill(0.0)
        self._sum.reset()
