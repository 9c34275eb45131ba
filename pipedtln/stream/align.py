"""Keeps the reference a little ahead of its echo, whatever the path between them.

::

      mic ──▶ hold 0-40 ms ──────▶ ┌───────────┐
                                   │ processor │──▶ out
      ref ──▶ hold 0-2 s ────────▶ └───────────┘
                  ▲                      │ spectra of both
                  └──── learn ◀──────────┘

DTLN-aec needs the reference 10-40 ms ahead of the echo. One that leads further is held back; where
it comes too late, the microphone is held back instead, and given back when that is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipedtln.processor import FRAME, HOP, MOST_BATCH, SAMPLE_RATE, Block, Processor, check_block
from pipedtln.stream.delay import MAX_LAG, DelayEstimator
from pipedtln.stream.flux import Array
from pipedtln.stream.hold import HoldLine
from pipedtln.stream.suppression import SuppressionMeter

TARGET_LEAD = 3
"""Hops between the held reference and the echo after a move, and the most that is left alone: where
the echo has but one way, 16 to 24 ms cancel 3 dB more of it than 32 (mean of four starts)."""
LEAST_LEAD = 2
"""Hops of lead for which the microphone is held back; the reference moves when it has less. One hop
is what an estimate may be wrong by, and with less than one the echo passes."""
MAX_MIC_HOLD = 5
"""Hops: 40 ms."""

FAR = 3
"""Hops of a move of the reference after which what the network has learned is of no use."""

_MIC_CONFIDENCE = 0.8
_GIVE_BACK_AFTER = 625
"""Hops (5 s) for which a shorter hold of the microphone must have done."""
_QUIET = 0.03
"""A hop with this share of the running mean power is a pause."""
_PATIENCE = 125
"""Hops to wait for a pause before the microphone's hold changes within speech."""
_REF_FADE = 1
_MIC_FADE = 4


def reference_hold(held: int, delay: int) -> int:
    """Hops to hold the reference back for an echo `delay` hops after it, `held` at present."""
    return held if LEAST_LEAD <= delay - held <= TARGET_LEAD else delay - TARGET_LEAD


@dataclass(frozen=True)
class Alignment:
    """Where the echo is and what is done about it."""

    echo_delay_ms: float | None
    """From the reference, as given to the aligner, to its echo; None until found."""
    confidence: float
    held_ref_ms: float
    held_mic_ms: float
    echo_suppression_db: float | None
    """Microphone over output while there is far-end sound; near-end speech lowers it."""


class Aligner:
    """Holds microphone and reference before a processor, by what it learns behind it.

    Two calls per hop, with the processor between them, so that whatever stands there (fail-open
    and dry/wet stages included) gets a microphone that is already held: :meth:`hold`, process,
    :meth:`learn`; where :attr:`moved_far` is true after that, the processor must forget.
    :class:`AlignedProcessor` does it all for a bare processor.

    Parameters
    ----------
    first_guess_ms : echo delay to assume until one is measured, as from the server's own report of
        its buffers; None for no guess, which leaves the reference as it is
    hop, sample_rate, bins : of the processor
    """

    def __init__(
        self,
        first_guess_ms: float | None = None,
        *,
        hop: int = HOP,
        sample_rate: int = SAMPLE_RATE,
        bins: int = FRAME // 2 + 1,
    ) -> None:
        self._hop = hop
        self._hop_ms = 1000.0 * hop / sample_rate
        self._estimator = DelayEstimator(bins, sample_rate)
        frame_hops = FRAME // HOP
        self._ref = HoldLine(hop, MAX_LAG, _REF_FADE, frame_hops)
        self._mic = HoldLine(hop, MAX_MIC_HOLD, _MIC_FADE, frame_hops)
        self._meter = SuppressionMeter(sample_rate / hop)
        self.mics: Block = np.zeros(MOST_BATCH * hop, np.float32)
        """The held microphone of the present hops, where several are held before any is learned."""
        self.refs: Block = np.zeros(MOST_BATCH * hop, np.float32)
        """The held reference of the present hops."""
        self.mic = self.mics[:hop]
        """The held microphone of the present hop."""
        self.ref = self.refs[:hop]
        """The held reference of the present hop."""
        each = (self.mics.reshape(-1, hop), self.refs.reshape(-1, hop))
        self._held = list(zip(*each, strict=True))
        self._sources: list[tuple[int, int | None, int | None]] = [(0, None, None)] * MOST_BATCH
        self.moved_far = False
        """Whether with the present hop the reference has come to lie elsewhere by far."""
        self.reset(first_guess_ms)

    @property
    def held_mic_samples(self) -> int:
        """Latency that the microphone's hold adds now."""
        return self._mic.hold_hops * self._hop

    @property
    def held_ref_samples(self) -> int:
        """Samples by which the reference is held back now."""
        return self._ref.hold_hops * self._hop

    @property
    def alignment(self) -> Alignment:
        """A snapshot for ``status``; from any thread."""
        delay = self._estimator.delay_hops
        return Alignment(
            echo_delay_ms=None if delay is None else delay * self._hop_ms,
            confidence=self._estimator.confidence,
            held_ref_ms=self._ref.hold_hops * self._hop_ms,
            held_mic_ms=self._mic.hold_hops * self._hop_ms,
            echo_suppression_db=None if delay is None else self._meter.suppression_db,
        )

    def reset(self, first_guess_ms: float | None = None) -> None:
        """Forget all that was heard, the delay too: the path may be another."""
        self._estimator.reset()
        self._meter.reset()
        hold = 0
        if first_guess_ms is not None:
            guess = round(first_guess_ms / self._hop_ms)
            self._estimator.expect(guess)
            hold = guess - TARGET_LEAD
        self._ref.reset(hold)
        self._mic.reset()
        self._hops = 0
        self._moving_from: int | None = None
        """The hop from which on the reference moves far, until it is there."""
        self.moved_far = False
        self._spare = 0
        self._waited = 0
        self._mean_power = 0.0

    def hold(self, mic: Block, ref: Block, at: int = 0) -> None:
        """Take a hop of both; :attr:`mic` and :attr:`ref` are then those to process.

        Parameters
        ----------
        mic, ref : float32, shape (hop,)
        at : which it is of the hops that are processed at once, 0 for the first
        """
        held_mic, held_ref = self._held[at]
        self._mic.process(mic, held_mic)
        self._ref.process(ref, held_ref)
        self._sources[at] = self._hops, self._mic.source_hop, self._ref.source_hop
        self._hops += 1

    def learn(
        self, mic_power: Array | None, ref_power: Array | None, out: Block, at: int = 0
    ) -> None:
        """Take what became of the hop and steer the holds of those to come.

        Parameters
        ----------
        mic_power, ref_power : float32, shape (bins,); power spectra of the frames that end with
            :attr:`mic` and :attr:`ref`; None where the processor did not compute them
        out : float32, shape (hop,); its output
        at : as for :meth:`hold`
        """
        hop, mic_hop, ref_hop = self._sources[at]
        mic, ref = self._held[at]
        # A move is over when all of the network's frame is of the reference's new place.
        moving = self._moving_from is not None and hop >= self._moving_from
        self.moved_far = moving and ref_hop is not None
        if self.moved_far:
            self._moving_from = None
        if mic_power is None or ref_power is None:
            return
        self._estimator.update(mic_power, mic_hop, ref_power, ref_hop)
        self._meter.update(mic, ref, out)
        delay = self._estimator.delay_hops
        if delay is not None:
            self._steer_mic(delay, mic)
            self._steer_ref(delay)

    def _steer_ref(self, delay: int) -> None:
        held = self._ref.hold_hops
        delay += self._mic.hold_hops
        hold = max(0, reference_hold(held, delay))
        if hold != held:
            self._ref.change(hold)
            if abs(hold - held) >= FAR:
                self._moving_from = self._hops

    def _steer_mic(self, delay: int, mic: Block) -> None:
        need = min(max(LEAST_LEAD - delay, 0), MAX_MIC_HOLD)
        held = self._mic.hold_hops
        power = float(np.dot(mic, mic))
        self._mean_power += (power - self._mean_power) * 0.01
        self._spare = self._spare + 1 if need < held else 0
        wanted = need > held and self._estimator.confidence >= _MIC_CONFIDENCE
        if not wanted and self._spare < _GIVE_BACK_AFTER:
            self._waited = 0
            return
        self._waited += 1
        if power < _QUIET * self._mean_power or self._waited > _PATIENCE:
            self._mic.change(need)
            self._waited = 0


class EchoProcessor(Processor, Protocol):
    """A processor that tells the spectra it works on."""

    @property
    def mic_power(self) -> Array:
        """Power spectrum of the present microphone frame, float32, shape (bins,)."""

    @property
    def ref_power(self) -> Array:
        """Power spectrum of the present reference frame, float32, shape (bins,)."""

    def forget(self) -> None:
        """Forget where the echo was, and go on with the sound."""


class AlignedProcessor:
    """An echo canceller whose reference is aligned, as a processor.

    ``latency_samples`` grows by the microphone's hold while there is one; read it after each hop.
    """

    def __init__(self, processor: EchoProcessor, first_guess_ms: float | None = None) -> None:
        self.processor = processor
        self.aligner = Aligner(
            first_guess_ms,
            hop=processor.hop,
            sample_rate=processor.sample_rate,
            bins=len(processor.mic_power),
        )
        self._first_guess_ms = first_guess_ms

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.processor.sample_rate

    @property
    def hop(self) -> int:
        """Samples in each block."""
        return self.processor.hop

    @property
    def latency_samples(self) -> int:
        """Samples by which ``out`` lies behind ``mic`` at present."""
        return self.processor.latency_samples + self.aligner.held_mic_samples

    @property
    def uses_reference(self) -> bool:
        """As the processor within."""
        return self.processor.uses_reference

    def reset(self) -> None:
        """Forget all that was heard, the delay too."""
        self.processor.reset()
        self.aligner.reset(self._first_guess_ms)

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Process one hop.

        Parameters
        ----------
        mic, ref, out : float32, shape (hop,), as for the processor within

        Raises
        ------
        BlockShapeError
            If a block has the wrong shape or dtype.
        """
        check_block(mic, self.hop, "mic")
        check_block(ref, self.hop, "ref")
        self.aligner.hold(mic, ref)
        self.processor.process(self.aligner.mic, self.aligner.ref, out)
        if self.processor.uses_reference:
            self.aligner.learn(self.processor.mic_power, self.processor.ref_power, out)
            if self.aligner.moved_far:
                self.processor.forget()
