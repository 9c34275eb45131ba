"""DTLN noise suppression, one hop at a time."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipedtln.dtln.frames import BINS, OVERLAP, OverlapAdd, irfft, rfft
from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.runtime import Stage
from pipedtln.dtln.tensor import Tensor
from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block, check_block


class NoiseSuppressor:
    """DTLN noise suppression, one hop at a time.

    A first stage masks the magnitudes of the spectrum and keeps the phases; a second one masks
    features of the resulting frame. Frames overlap by three quarters and add up without a window.

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
        self._masks = masks
        self._frames = PipelinedStage(frames, (FRAME,), FRAME) if pipeline else frames
        self._latency = OVERLAP + HOP if pipeline else OVERLAP
        # The frame is the newest part of what is kept; the one before it is there for two hops.
        self._sound: Block = np.zeros(HOP + FRAME, np.float32)
        self._frame = self._sound[HOP:]
        self._kept = self._frame[:OVERLAP]
        self._moved = self._frame[HOP:]
        self._newest = self._frame[OVERLAP:]
        self._spectrum = np.zeros(BINS, np.complex64)
        self._magnitude: Tensor = np.zeros(BINS, np.float32)
        self._power: Tensor = np.zeros(BINS, np.float32)
        self._gain: Tensor = np.zeros(BINS, np.float32)
        self._masked: Block = np.zeros(FRAME, np.float32)
        self._clean: Block = np.zeros(FRAME, np.float32)
        self._sum = OverlapAdd()
        self._magnitudes = (self._magnitude,)
        self._masked_frames = (self._masked,)
        self._mic_power: Tensor = self._power.view()
        self._mic_power.flags.writeable = False
        self._frames_two = sliding_window_view(self._sound, FRAME)[::HOP]
        self._spectra_two = np.zeros((2, BINS), np.complex64)
        self._magnitude_two: Tensor = np.zeros((2, BINS), np.float32)
        self._gain_two: Tensor = np.zeros((2, BINS), np.float32)
        self._masked_two: Tensor = np.zeros((2, FRAME), np.float32)
        self._clean_two: Tensor = np.zeros((2, FRAME), np.float32)

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
        """Whether ``ref`` changes the output: it does not."""
        return False

    @property
    def mic_power(self) -> Tensor:
        """Power spectrum of the newest frame of ``mic``.

        A read-only view, float32, shape (257,), linear (squared magnitude of the unwindowed
        512-point spectrum), bins 31.25 Hz apart; each :meth:`process` overwrites it.
        """
        return self._mic_power

    @property
    def pairs(self) -> bool:
        """Whether both stages are ready for :meth:`process_two`."""
        return self._masks.pairs and self._frames.pairs

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
        check_block(mic, HOP, "mic")
        check_block(out, HOP, "out")
        self._kept[:] = self._moved
        self._newest[:] = mic
        rfft(self._frame, self._spectrum)
        np.abs(self._spectrum, out=self._magnitude)
        np.square(self._magnitude, out=self._power)
        self._masks.run(self._magnitudes, self._gain)
        # A real gain leaves the phase alone, so magnitude and phase need not be taken apart.
        np.multiply(self._spectrum, self._gain, out=self._spectrum)
        irfft(self._spectrum, self._masked)
        self._frames.run(self._masked_frames, self._clean)
        self._sum.add(self._clean, out)

    def process_two(self, mic: Block, ref: Block, out: Block) -> None:
        """Suppress noise in two hops at once; gives what two calls of :meth:`process` give.

        Parameters
        ----------
        mic, ref, out : float32, shape (256,), otherwise as for :meth:`process`

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """
        check_block(mic, 2 * HOP, "mic")
        check_block(out, 2 * HOP, "out")
        self._sound[:OVERLAP] = self._sound[2 * HOP :]
        self._sound[OVERLAP:] = mic
        rfft(self._frames_two, self._spectra_two)
        np.abs(self._spectra_two, out=self._magnitude_two)
        np.square(self._magnitude_two[1], out=self._power)
        self._masks.run_two((self._magnitude_two,), self._gain_two)
        np.multiply(self._spectra_two, self._gain_two, out=self._spectra_two)
        irfft(self._spectra_two, self._masked_two)
        self._frames.run_two((self._masked_two,), self._clean_two)
        self._sum.add(self._clean_two[0], out[:HOP])
        self._sum.add(self._clean_two[1], out[HOP:])

    def reset(self) -> None:
        """Forget all that was heard, as if newly made."""
        self._masks.reset()
        self._frames.reset()
        self._sound.fill(0.0)
        self._power.fill(0.0)
        self._sum.reset()
