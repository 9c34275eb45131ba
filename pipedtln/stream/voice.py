"""All that happens to one hop: alignment, the network, and the way round it.

::

    mic, ref ──▶ hold back ──▶ fail-open( network switch ) ──▶ out
                     ▲                     │
                     └───── learn ◀────────┘ spectra
"""

from __future__ import annotations

from pipedtln.processor import Block, Processor
from pipedtln.stream.align import Aligner, Alignment
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import FarEndDetector
from pipedtln.stream.switch import NetworkSwitch


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

    def reset(self, first_guess_ms: float | None = None) -> None:
        """Forget all sound, as when streams are opened anew."""
        self.processing.reset()
        self._aligner.reset(first_guess_ms)
        self._detector.reset()

    def process(self, mic: Block, ref: Block, out: Block, *, late: bool = False) -> None:
        """Process one hop; see :meth:`FailOpen.process`."""
        processing, aligner = self.processing, self._aligner
        self._detector.hear(ref)
        far_end = self._detector.sounds(aligner.held_ref_samples)
        processor = processing.processor
        if isinstance(processor, NetworkSwitch):
            processor.far_end = far_end
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


def _spectra(processor: Processor | None) -> tuple[Block | None, Block | None]:
    """Spectra that the processor computed for the last hop, if it uses the reference."""
    if processor is None or not processor.uses_reference:
        return None, None
    return getattr(processor, "mic_power", None), getattr(processor, "ref_power", None)
