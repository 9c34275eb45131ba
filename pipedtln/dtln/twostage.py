"""What both networks are: two stages, and the sound on its way through them."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipedtln.dtln.frames import BINS, OVERLAP, OverlapAdd, irfft, rfft
from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.runtime import Stage, runs_batches
from pipedtln.dtln.tensor import Tensor
from pipedtln.processor import FRAME, HOP, SAMPLE_RATE, Block, check_block


class TwoStageNetwork:
    """A first stage masks the microphone's spectrum, a second one works on the resulting frame.

    Phases are kept; frames overlap by three quarters and add up without a window. Both stages
    see the reference, too, where there is one.

    Parameters
    ----------
    masks : stage with 257 magnitudes of each signal and an output of 257 gains
    frames : stage with 512 samples of each signal and an output of 512 samples
    signals : names of the blocks that :meth:`_process` takes, the microphone first
    pipeline : infer ``frames`` of one hop beside ``masks`` of the next, one hop later
    """

    def __init__(
        self, masks: Stage, frames: Stage, signals: tuple[str, ...], *, pipeline: bool = False
    ) -> None:
        if pipeline:
            frames = PipelinedStage(frames, (FRAME,) * len(signals), FRAME)
        self._masks, self._frames = masks, frames
        self._latency = OVERLAP + HOP if pipeline else OVERLAP
        self._signals = signals
        self._batch = 1
        if runs_batches(masks) and runs_batches(frames) and masks.batch == frames.batch:
            self._batch = masks.batch
            self._masks_of_batch, self._frames_of_batch = masks.run_batch, frames.run_batch
        # The frame is the newest part; those before it are there, too, for several hops at once.
        before = (self._batch - 1) * HOP
        sound = self._sound = np.zeros((len(signals), before + FRAME), np.float32)
        self._sum = OverlapAdd()
        self._one = _Work(sound, sound[:, before:])
        self._several = _Work(sound, sliding_window_view(sound, FRAME, axis=1)[:, ::HOP])
        self._powers = _read_only(self._one.power)
        self._powers_of_batch = _read_only(self._several.power)
        self._mic_power: Tensor = self._powers[0]

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
    def mic_power(self) -> Tensor:
        """Power spectrum of the newest frame of ``mic``.

        A read-only view, float32, shape (257,), linear (squared magnitude of the unwindowed
        512-point spectrum), bins 31.25 Hz apart; each hop overwrites it.
        """
        return self._mic_power

    @property
    def batch(self) -> int:
        """Hops that both stages are ready to take at once; 1 where each must go alone."""
        return self._batch

    def reset(self) -> None:
        """Forget all that was heard, as if newly made."""
        self._masks.reset()
        self._frames.reset()
        self._sound.fill(0.0)
        self._one.power.fill(0.0)
        self._sum.reset()

    def _process(self, blocks: tuple[Block, ...], out: Block) -> None:
        """Process a hop of each signal, or fail with :class:`BlockShapeError`."""
        self._check(blocks, out, HOP)
        work = self._one
        work.hear(blocks)
        self._masks.run(work.magnitudes, work.gain)
        work.mask()
        self._frames.run(work.masked_frames, work.clean)
        self._sum.add(work.clean, out)

    def _process_batch(self, blocks: tuple[Block, ...], out: Block) -> None:
        """The same for several hops at once, which gives what one after the other gives."""
        if self._batch == 1:
            self._process(blocks, out)
            return
        self._check(blocks, out, self._batch * HOP)
        work = self._several
        work.hear(blocks)
        self._one.power[:] = work.power[:, -1]
        self._masks_of_batch(work.magnitudes, work.gain)
        work.mask()
        self._frames_of_batch(work.masked_frames, work.clean)
        for frame, hop in zip(work.clean, out.reshape(-1, HOP)):  # noqa: B905 - checked above
            self._sum.add(frame, hop)

    def _check(self, blocks: tuple[Block, ...], out: Block, size: int) -> None:
        for name, block in zip(self._signals, blocks, strict=True):
            check_block(block, size, name)
        check_block(out, size, "out")


class _Work:
    """Arrays that are used again and again, and what is done in them, for one frame or several.

    Parameters
    ----------
    sound : shape (signals, samples); what is kept of each signal
    frames : a view of it, shape (signals, 512) or (signals, frames, 512)
    """

    def __init__(self, sound: Tensor, frames: Tensor) -> None:
        signals, *several, _ = frames.shape
        new = HOP * (several[0] if several else 1)
        # Row by row: NumPy moves overlapping rows in place, but copies overlapping matrices twice.
        self._moves = [(row[-OVERLAP - new : -new], row[-OVERLAP:], row[-new:]) for row in sound]
        self._heard = frames
        self._spectra = np.zeros((signals, *several, BINS), np.complex64)
        self._spectrum = self._spectra[0]
        self._magnitude: Tensor = np.zeros((signals, *several, BINS), np.float32)
        self._masked: Tensor = np.zeros((*several, FRAME), np.float32)
        self.power: Tensor = np.zeros((signals, *several, BINS), np.float32)
        self.gain: Tensor = np.zeros((*several, BINS), np.float32)
        self.clean: Tensor = np.zeros((*several, FRAME), np.float32)
        self.magnitudes = tuple(self._magnitude)
        self.masked_frames = (self._masked, *frames[1:])

    def hear(self, blocks: tuple[Block, ...]) -> None:
        """Take new sound in: what the first stage sees, and its power."""
        for (kept, moved, newest), block in zip(self._moves, blocks, strict=True):
            kept[:] = moved
            newest[:] = block
        # One transform serves all.
        rfft(self._heard, self._spectra)
        np.abs(self._spectra, out=self._magnitude)
        np.square(self._magnitude, out=self.power)

    def mask(self) -> None:
        """Apply the gains: what the second stage sees."""
        # A real gain leaves the phase alone, so magnitude and phase need not be taken apart.
        np.multiply(self._spectrum, self.gain, out=self._spectrum)
        irfft(self._spectrum, self._masked)


def _read_only(values: Tensor) -> Tensor:
    view: Tensor = values.view()
    view.flags.writeable = False
    return view
