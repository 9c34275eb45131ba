"""All that happens to one hop: alignment, the network, and the way round it.

::

    mic, ref ──▶ hold back ──▶ fail-open( network switch ) ──▶ out
                     ▲                     │
                     └───── learn ◀────────┘ spectra
"""

from __future__ import annotations

from pipedtln.processor import HOP, MOST_BATCH, Block, Processor, batch_of, takes_batches
from pipedtln.stream.align import Aligner, Alignment
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import FarEndDetector
from pipedtln.stream.switch import NetworkSwitch

_HOPS = tuple(slice(at * HOP, (at + 1) * HOP) for at in range(MOST_BATCH))


class Voice:
    """Turns one hop of microphone and reference into one hop of clean sound; never raises.

    Parameters
    ----------
    processing : runs the network; a :class:`NetworkSwitch` in it is told of the far end
    """

    def __init__(self, processing: FailOpen) -> None:
        self.processing = processing
        self._aligner = Aligner()
        self._detector = FarEndDetector()

    @property
    def latency_samples(self) -> int:
        """Samples by which the output lies behind the microphone now."""
        return self.processing.latency_samples + self._aligner.held_mic_samples

    @property
    def alignment(self) -> Alignment:
        """Where the echo is and what is done about it."""
        return self._aligner.alignment

    @property
    def hops(self) -> int:
        """Hops processed since the bridge began."""
        return self.processing.hops

    @property
    def batch(self) -> int:
        """Hops that at once take less time than one after the other now; 1 where none do."""
        return batch_of(self.processing.processor)

    def catches_up(self, hops: int) -> bool:
        """Whether so many hops that wait would be worked off soon; see :class:`FailOpen`."""
        return self.processing.catches_up(hops)

    def reset(self, first_guess_ms: float | None = None) -> None:
        """Forget all sound, as when streams are opened anew."""
        self.processing.reset()
        self._aligner.reset(first_guess_ms)
        self._detector.reset()

    def process(self, mic: Block, ref: Block, out: Block, *, late: bool = False) -> None:
        """Process one hop; see :meth:`FailOpen.process`."""
        self._one(mic, ref, out, self._far_end(ref), late=late)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Process several hops, at once where nothing changes between them.

        What is learned of any of them steers those that come after all of them then.

        Parameters
        ----------
        mic, ref, out : float32, shape (hops * 128,), one hop behind the other; as many as
            :attr:`batch` told
        """
        hops = _HOPS[: len(mic) // HOP]
        far_ends = [self._far_end(ref[hop]) for hop in hops]
        processor = self._tell(far_ends[0])
        if (
            any(far_end != far_ends[0] for far_end in far_ends)
            or not takes_batches(processor)
            or processor.batch != len(hops)
        ):
            for hop, far_end in zip(hops, far_ends, strict=True):
                self._one(mic[hop], ref[hop], out[hop], far_end)
            return
        aligner = self._aligner
        for at, hop in enumerate(hops):
            aligner.hold(mic[hop], ref[hop], at)
        held = slice(0, len(mic))
        self.processing.process_batch(aligner.mics[held], aligner.refs[held], out)
        if far_ends[0] and self.processing.ran:
            for at, hop in enumerate(hops):
                aligner.learn(*_spectra(processor, at), out[hop], at)
                if aligner.moved_far:
                    _forget(processor)

    def _far_end(self, ref: Block) -> bool:
        self._detector.hear(ref)
        return self._detector.sounds(self._aligner.held_ref_samples)

    def _tell(self, far_end: bool) -> Processor | None:
        """What runs next, if it is told whether the far end sounds."""
        processor = self.processing.processor
        if isinstance(processor, NetworkSwitch):
            processor.far_end = far_end
        return processor

    def _one(
        self, mic: Block, ref: Block, out: Block, far_end: bool, *, late: bool = False
    ) -> None:
        processing, aligner = self.processing, self._aligner
        processor = self._tell(far_end)
        aligner.hold(mic, ref)
        processing.process(aligner.mic, aligner.ref, out, late=late)
        if far_end and processing.ran:
            aligner.learn(*_spectra(processor), out)
            if aligner.moved_far:
                _forget(processor)


def _forget(processor: Processor | None) -> None:
    """Let the processor forget where the echo was, if it can know."""
    forget = getattr(processor, "forget", None)
    if forget is not None:
        forget()


def _spectra(
    processor: Processor | None, at: int | None = None
) -> tuple[Block | None, Block | None]:
    """Spectra that the processor computed for the last hop, if it uses the reference.

    ``at`` tells which of the hops it is that were processed at once.
    """
    if processor is None or not processor.uses_reference:
        return None, None
    if at is None:
        return getattr(processor, "mic_power", None), getattr(processor, "ref_power", None)
    mic, ref = getattr(processor, "mic_powers", None), getattr(processor, "ref_powers", None)
    return (None, None) if mic is None or ref is None else (mic[at], ref[at])
